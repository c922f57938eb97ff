// What the page was given: columns of runs, in the order of drawing (the worst first).

const BELOW = -0.09; // analysis.plots.scale: where values without a place on the axis lie
const JITTER = 0.025; // of the axis, so that lines through one level can be told apart
const NOTHING = "–";

function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

function decodeIds(form, n) {
  if (Array.isArray(form)) return form;
  const hex = Array.from(bytesOf(form), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return Array.from({ length: n }, (_, i) => hex.slice(12 * i, 12 * i + 12));
}

/** Text and numbers of one column; `place` is the position on its axis, `key` what the table sorts by. */
function decodeColumn(form, n) {
  const column = { ...form };
  column.scale = scaleOf(form);
  if (form.codes !== undefined) {
    const bytes = bytesOf(form.codes);
    const codes = n && bytes.length / n > 2 ? new Uint32Array(bytes.buffer) : new Uint16Array(bytes.buffer);
    const isMissing = (code) => form.texts[code] === NOTHING && form.levels[code] === null;
    column.place = Float64Array.from(codes, (code) => form.places[code]);
    column.key = Float64Array.from(codes, (code) => (isMissing(code) ? NaN : code));
    column.text = (run) => form.texts[codes[run]];
    column.number = (run) => form.levels[codes[run]];
  } else {
    const values = new Float64Array(bytesOf(form.values).buffer);
    column.place = values.map(column.scale.placeOf);
    column.key = values;
    column.text = (run) => textOf(column, values[run]);
    column.number = (run) => (Number.isNaN(values[run]) ? null : values[run]);
  }
  column.stops = form.hasLevels ? [...new Set(column.place)].sort((a, b) => a - b) : null;
  return column;
}

function scaleOf(form) {
  const [low, high] = form.range || [NaN, NaN];
  const isLog = form.kind === "log";
  const forward = isLog ? Math.log10 : (value) => value;
  const back = isLog ? (power) => 10 ** power : (value) => value;
  const span = forward(high) - forward(low);
  return {
    placeOf(value) {
      if (!Number.isFinite(value) || (isLog && value <= 0)) return BELOW;
      return span > 0 ? (forward(value) - forward(low)) / span : 0.5;
    },
    /** The ends exactly: a logarithm and back would miss them by a digit. */
    valueOf(place) {
      if (place <= 0 || !(span > 0)) return low;
      return place >= 1 ? high : back(forward(low) + place * span);
    },
  };
}

function textOf(column, value, digits = 6) {
  if (!Number.isFinite(value)) return NOTHING;
  if (column.isShare) return (100 * value).toFixed(3);
  return general(value, column.isMetric ? 4 : digits);
}

/** As `%g` writes it: `0.0001`, `7.5e-05`. */
function general(value, digits) {
  const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < digits) return String(Number(value.toPrecision(digits)));
  return `${Number(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
}

/** What a person reads of a position: the level there, or the number. */
function placeText(column, place, digits) {
  const near = column.ticks.find(([at]) => Math.abs(at - place) < 1e-9);
  if (near && (column.hasLevels || place < 0)) return near[1];
  return textOf(column, column.scale.valueOf(place), digits);
}

/** The same number in [-1, 1] for a run and an axis on every machine (FNV-1a). */
function spreadOf(id, axis) {
  let hash = 2166136261 ^ axis;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 16777619);
  hash = Math.imul(hash ^ (hash >>> 15), 2246822507);
  return ((hash >>> 8) & 0xffff) / 32767.5 - 1;
}

function decode(form) {
  const ids = decodeIds(form.ids, form.n);
  const columns = form.columns.map((column) => decodeColumn(column, form.n));
  columns.forEach((column, axis) => {
    column.drawn = Float32Array.from(column.place, (place, run) => {
      const isBundled = column.hasLevels || place < 0;
      return isBundled ? place + JITTER * spreadOf(ids[run], axis) : place;
    });
  });
  const metric = columns.find((column) => column.isMetric);
  return { ...form, ids, columns, metric, outcome: columns.find((column) => column.name === "outcome"), rank: ranksOf(metric) };
}

/** 0 for the worst score to 1 for the best, equal scores alike, NaN without one. */
function ranksOf(metric) {
  const rank = new Float32Array(metric.key.length).fill(NaN);
  let level = -1;
  let before = NaN;
  for (let run = 0; run < rank.length; run++) {
    if (Number.isNaN(metric.key[run])) continue;
    if (metric.key[run] !== before) level += 1;
    before = metric.key[run];
    rank[run] = level;
  }
  return level > 0 ? rank.map((value) => value / level) : rank.map((value) => (Number.isNaN(value) ? NaN : 1));
}

/** A POSIX shell's single word. */
function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`;
}

/** One value in the filter language; null where it has no form. */
function filterValue(text) {
  if (/^[^\s,"']+$/.test(text)) return text;
  if (!text.includes('"')) return `"${text}"`;
  return text.includes("'") ? null : `'${text}'`;
}

/** The `--only` filter that keeps the runs of one brush; null where no filter can say it. */
function filterOf(column, runs) {
  if (!runs.length || /[\s=!<>~"',]/.test(column.name)) return null;
  if (column.kind === "category") {
    const texts = [...new Set(Array.from(runs, column.text))].sort();
    const values = texts.map((text) => (text === NOTHING ? null : filterValue(text)));
    return values.includes(null) ? null : `${column.name}=${values.join(",")}`;
  }
  let low = Infinity;
  let high = -Infinity;
  for (const run of runs) {
    const value = column.number(run);
    if (value === null) return null;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  const range = low === high ? `${column.name}=${low}` : `${column.name}>=${low} ${column.name}<=${high}`;
  return column.isMetric ? `state=done ${range}` : range;
}
