// The axes, in the document over the canvases: titles to drag, ticks, brushes by pointer and by keyboard.

const TOP = 66;
const BOTTOM = 18;
const HEIGHT = 440;
const LEFT = 76;
const RIGHT = 96;
const GAP = 104; // pixels between axes at least
const LETTER = 7; // pixels of a letter of a label
const LABEL = 17; // pixels between tick labels at least
const STEPS = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10, Home: -Infinity, End: Infinity };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function shortened(text, length) {
  if (text.length <= length) return text;
  const tail = Math.floor((length - 1) / 2);
  return `${text.slice(0, length - 1 - tail)}…${text.slice(text.length - tail)}`;
}

/** Which ticks have room for their label: the ends first. */
function roomyTicks(ticks, yOf) {
  const sorted = [...ticks].sort((a, b) => a[0] - b[0]);
  const kept = [];
  for (const tick of [sorted[0], sorted[sorted.length - 1], ...sorted]) {
    if (tick && kept.every((other) => Math.abs(yOf(other[0]) - yOf(tick[0])) >= LABEL)) kept.push(tick);
  }
  return kept;
}

class Axis {
  constructor(column, index, chart) {
    Object.assign(this, { column, index, chart });
    this.brush = null; // [low, high] as positions, both ends inclusive
    const hasBelow = column.place.some((place) => place < 0);
    this.least = hasBelow ? BELOW : 0;
    this.root = element("div", { class: "pc-axis", role: "group" });
    this.title = element("div", { class: "pc-title", title: column.label });
    this.track = element("div", { class: "pc-track" });
    this.range = element("div", { class: "pc-range" });
    this.ends = ["lower", "upper"].map((end) => this.makeEnd(end));
    this.texts = this.ends.map(() => element("span", { class: "pc-endtext", "aria-hidden": "true" }));
    this.ticks = element("div", { "aria-hidden": "true" });
    this.root.setAttribute("aria-label", `${column.label}${column.kind === "log" ? ", logarithmic" : ""}`);
    this.root.append(this.title, element("div", { class: "pc-rail" }), this.ticks, this.track, this.range);
    this.root.append(...this.texts, ...this.ends);
    this.listen();
  }

  makeEnd(end) {
    const name = `${this.column.label}: ${end} end`;
    return element("div", { class: `pc-end pc-${end}`, role: "slider", tabindex: "0", "aria-label": name, "aria-orientation": "vertical" });
  }

  listen() {
    this.track.addEventListener("pointerdown", (event) => this.startBrush(event));
    this.title.addEventListener("pointerdown", (event) => this.startMove(event));
    this.ends.forEach((end, which) => {
      end.addEventListener("keydown", (event) => this.key(event, which));
      end.addEventListener("pointerdown", (event) => this.startBrush(event, which));
    });
  }

  // ---- brush

  /** The position that a pointer means: on an axis of levels the nearest level. */
  placeAt(clientY) {
    const place = this.chart.placeOf(clientY - this.root.getBoundingClientRect().top);
    const stops = this.column.stops;
    if (stops) return stops.reduce((best, stop) => (Math.abs(stop - place) < Math.abs(best - place) ? stop : best));
    if (place < this.least / 2) return this.least;
    return Math.min(1, Math.max(0, place));
  }

  startBrush(event, which) {
    if (event.button) return;
    event.preventDefault();
    const before = this.brush && [...this.brush];
    const start = this.placeAt(event.clientY);
    const isInside = which === undefined && before && start > before[0] && start < before[1] && !this.column.stops;
    const anchor = which === undefined ? start : this.bounds()[1 - which];
    let isMoved = false;
    const move = (at) => {
      isMoved ||= Math.abs(at.clientY - event.clientY) > 3;
      if (!isMoved) return;
      const place = this.placeAt(at.clientY);
      this.set(isInside ? this.shifted(before, place - start) : [Math.min(anchor, place), Math.max(anchor, place)]);
    };
    const end = () => {
      if (!isMoved && (which === undefined || !before)) this.click(start, before);
    };
    this.follow(event, move, end);
    if (which !== undefined) this.ends[which].focus();
  }

  shifted([low, high], by) {
    const inside = Math.max(-Math.max(low, 0), Math.min(1 - high, by));
    return [low + inside, high + inside];
  }

  /** Keeps a level, or what lies below the axis, alone; elsewhere, or the second time, clears. */
  click(place, before) {
    const isAlone = before && before[0] === place && before[1] === place;
    this.set((this.column.stops || place < 0) && !isAlone ? [place, place] : null);
  }

  follow(event, move, end) {
    const target = event.currentTarget;
    target.setPointerCapture(event.pointerId);
    const stop = (at) => {
      target.removeEventListener("pointermove", move);
      target.removeEventListener("pointerup", stop);
      target.removeEventListener("pointercancel", stop);
      end(at);
    };
    target.addEventListener("pointermove", move);
    target.addEventListener("pointerup", stop);
    target.addEventListener("pointercancel", stop);
  }

  bounds() {
    const { stops } = this.column;
    return this.brush || (stops ? [stops[0], stops[stops.length - 1]] : [this.least, 1]);
  }

  set(brush) {
    const [least, most] = this.column.stops ? [this.column.stops[0], this.column.stops.at(-1)] : [this.least, 1];
    this.brush = brush && (brush[0] > least || brush[1] < most) ? brush : null;
    this.draw();
    this.chart.brushed();
  }

  key(event, which) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (sideways && event.shiftKey) {
      this.chart.move(this, sideways);
      this.ends[which].focus();
    } else if (sideways) this.chart.neighbour(this, sideways).ends[which].focus();
    else if (event.key === "Escape") this.set(null);
    else if (event.key in STEPS) this.push(which, STEPS[event.key]);
    else return;
    event.preventDefault();
  }

  /** Moves one end by levels, or by hundredths of the axis, as far as the other end. */
  push(which, steps) {
    const ends = [...this.bounds()];
    const [floor, ceiling] = which ? [ends[0], Infinity] : [-Infinity, ends[1]];
    const wanted = this.column.stops ? this.stopAfter(ends[which], steps) : this.stepAfter(ends[which], steps);
    ends[which] = Math.min(ceiling, Math.max(floor, wanted));
    this.set(ends);
  }

  stopAfter(place, steps) {
    const { stops } = this.column;
    const at = Math.min(stops.length - 1, Math.max(0, stops.indexOf(place) + steps));
    return stops[at];
  }

  stepAfter(place, steps) {
    if (place < 0) return steps > 0 ? Math.min(1, (steps - 1) / 100) : place;
    const next = Math.round(100 * place + steps) / 100;
    return next < 0 ? this.least : Math.min(1, next);
  }

  // ---- reorder

  startMove(event) {
    if (event.button) return;
    event.preventDefault();
    this.root.classList.add("pc-moving");
    const start = this.chart.xOf(this);
    const move = (at) => this.chart.dragTo(this, start + at.clientX - event.clientX);
    this.follow(event, move, () => {
      this.root.classList.remove("pc-moving");
      this.chart.settle();
    });
  }

  // ---- drawing

  layOut() {
    const { chart, column } = this;
    this.title.replaceChildren(this.titleWords());
    const mark = ([at, text], isLabelled) => {
      const words = isLabelled ? [element("span", {}, shortened(text, Math.floor((chart.gap - 30) / LETTER)))] : [];
      const tick = element("div", { class: "pc-tick", title: text }, ...words);
      tick.style.top = `${chart.yOf(at)}px`;
      return tick;
    };
    const labelled = new Set(roomyTicks(column.ticks, chart.yOf));
    this.ticks.replaceChildren(...column.ticks.map((tick) => mark(tick, labelled.has(tick))));
    const rail = this.root.querySelector(".pc-rail");
    Object.assign(rail.style, { top: `${chart.yOf(1)}px`, height: `${chart.yOf(0) - chart.yOf(1)}px` });
    this.root.style.setProperty("--pc-gap", `${chart.gap}px`);
    this.draw();
  }

  /** The name on two lines at most, broken where its parts end. */
  titleWords() {
    const { label, kind } = this.column;
    const letters = Math.floor((Math.min(this.chart.gap, 190) - 10) / (LETTER + 1));
    const parts = shortened(label, 2 * letters - (kind === "log" ? 7 : 1)).split(/(?<=[_\-/. ])/);
    const words = element("span", {}, ...parts.flatMap((part) => [part, element("wbr")]));
    if (kind === "log") words.append(element("small", {}, " (log)"));
    return words;
  }

  place(x) {
    this.root.style.transform = `translateX(${x}px)`;
  }

  draw() {
    const { chart, column } = this;
    const bounds = this.bounds();
    const pad = column.stops ? JITTER : 0;
    const [bottom, top] = [chart.yOf(bounds[0] - pad), chart.yOf(bounds[1] + pad)];
    this.range.hidden = !this.brush;
    this.root.classList.toggle("pc-brushed", Boolean(this.brush));
    Object.assign(this.range.style, { top: `${top}px`, height: `${Math.max(2, bottom - top)}px` });
    [bottom, top].forEach((y, which) => {
      this.ends[which].style.top = `${y}px`;
      this.texts[which].style.top = `${y}px`;
      this.texts[which].textContent = this.brush && !column.stops ? placeText(column, bounds[which], 3) : "";
      this.describe(which, bounds);
    });
  }

  describe(which, bounds) {
    const { column, ends } = this;
    const numberOf = column.stops ? (place) => column.stops.indexOf(place) : column.scale.valueOf;
    const last = column.stops ? column.stops.at(-1) : 1;
    const numbers = { min: this.column.stops ? column.stops[0] : 0, max: last, now: bounds[which] };
    for (const [name, place] of Object.entries(numbers)) {
      const number = numberOf(place);
      ends[which].setAttribute(`aria-value${name}`, Number.isFinite(number) ? number : 0);
    }
    ends[which].setAttribute("aria-valuetext", placeText(column, bounds[which]));
  }
}

/** Where the axes stand. */
class Frame {
  constructor(plot, data, on) {
    Object.assign(this, { plot, on });
    this.axes = data.columns.filter(({ isAxis }) => isAxis).map((column, index) => new Axis(column, index, this));
    this.order = [...this.axes];
    this.xs = new Map();
    const lowest = Math.min(...this.axes.map((axis) => axis.least));
    this.floor = lowest - 0.04;
    this.height = HEIGHT;
    this.yOf = (place) => TOP + ((1.03 - place) / (1.03 - this.floor)) * (HEIGHT - TOP - BOTTOM);
    plot.append(...this.axes.map((axis) => axis.root));
  }

  placeOf(y) {
    return 1.03 - ((y - TOP) / (HEIGHT - TOP - BOTTOM)) * (1.03 - this.floor);
  }

  layOut(available) {
    const spaces = Math.max(1, this.axes.length - 1);
    this.gap = Math.max(GAP, (available - LEFT - RIGHT) / spaces);
    this.width = LEFT + RIGHT + this.gap * (this.axes.length - 1);
    this.axes.forEach((axis) => axis.layOut());
    this.plot.classList.remove("pc-lively"); // a change of the window is no journey
    this.stand();
  }

  stand() {
    this.order.forEach((axis, slot) => {
      if (!axis.root.classList.contains("pc-moving")) this.xs.set(axis, LEFT + slot * this.gap);
      axis.place(this.xs.get(axis));
    });
  }

  xOf(axis) {
    return this.xs.get(axis);
  }

  neighbour(axis, by) {
    const count = this.order.length;
    return this.order[(this.order.indexOf(axis) + by + count) % count];
  }

  /** Puts an axis `by` places further; the document's order follows, and with it the order of the tab key. */
  move(axis, by) {
    const slot = Math.min(this.order.length - 1, Math.max(0, this.order.indexOf(axis) + by));
    this.order.splice(this.order.indexOf(axis), 1);
    this.order.splice(slot, 0, axis);
    this.settle();
  }

  dragTo(axis, x) {
    this.plot.classList.add("pc-lively");
    this.xs.set(axis, x);
    const slot = Math.min(this.order.length - 1, Math.max(0, Math.round((x - LEFT) / this.gap)));
    this.order.splice(this.order.indexOf(axis), 1);
    this.order.splice(slot, 0, axis);
    this.stand();
    this.on.moved();
  }

  settle() {
    this.order.forEach((axis) => this.plot.append(axis.root));
    this.plot.classList.add("pc-lively");
    this.stand();
    this.on.moved();
  }

  brushed() {
    this.on.brushed();
  }

  get brushes() {
    return this.axes.filter((axis) => axis.brush);
  }
}
