// One component: brushes choose runs, which the lines, the table and the counts show.

const REACH = 6; // pixels from a line within which the pointer means it

class Component {
  constructor(section) {
    this.section = section;
    this.data = decode(JSON.parse(this.find(".pc-data").textContent));
    this.kept = null;
    this.hovered = null;
    this.path = (context, run) => this.tracePath(context, run);
    this.frame = new Frame(this.find(".pc-plot"), this.data, { brushed: () => this.choose(), moved: () => this.redraw() });
    this.context = new Layer(this.find(".pc-context"), (context, run) => this.styleContext(context, run));
    this.lines = new Layer(this.find(".pc-lines"), (context, run) => this.styleLine(context, run));
    this.painter = new Painter([this.lines, this.context], this.path);
    this.mark = this.find(".pc-mark");
    const on = { hover: (run) => this.hover(run), keep: (run) => this.keep(run) };
    this.table = new Table(this.find(".pc-rows"), this.data, on);
    this.listen();
    this.tellCommon();
    this.takeTheme();
    this.layOut();
    if (this.data.startsBetter && this.better.length) this.showBetter();
    else this.choose();
  }

  find(selector) {
    return this.section.querySelector(selector);
  }

  listen() {
    const plot = this.find(".pc-plot");
    plot.addEventListener("pointermove", (event) => this.point(event));
    plot.addEventListener("pointerleave", () => this.hover(null));
    plot.addEventListener("click", (event) => this.clickLine(event));
    this.find(".pc-all").addEventListener("click", () => this.showAll());
    this.find(".pc-theme").addEventListener("click", () => this.toggleTheme());
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.takeTheme());
    new ResizeObserver(() => this.layOut()).observe(this.find(".pc-scroll"));
    this.makeBetter();
  }

  // ---- choosing

  choose() {
    const { n } = this.data;
    const tests = this.frame.brushes.map(({ column, brush }) => [column.place, ...brush]);
    this.mask = new Uint8Array(n);
    const shown = [];
    for (let run = 0; run < n; run++) {
      if (!tests.every(([place, low, high]) => place[run] >= low && place[run] <= high)) continue;
      this.mask[run] = 1;
      shown.push(run);
    }
    this.shown = Uint32Array.from(shown);
    this.table.show(this.mask);
    this.tell();
    this.paint();
  }

  showAll() {
    for (const axis of this.frame.brushes) axis.brush = null;
    this.frame.axes.forEach((axis) => axis.draw());
    this.choose();
  }

  makeBetter() {
    const { bound, boundText, higherIsBetter, metric } = this.data;
    if (bound === null) return;
    const key = Array.from(metric.key, (_, run) => metric.number(run));
    const better = key.map((value, run) => (value !== null && (higherIsBetter ? value > bound : value < bound) ? run : -1));
    this.better = better.filter((run) => run >= 0);
    const button = this.find(".pc-better");
    button.hidden = false;
    button.textContent = `Better than ${boundText}`;
    button.disabled = !this.better.length;
    if (button.disabled) button.title = "No run is.";
    button.addEventListener("click", () => this.showBetter());
  }

  /** A brush on the metric from the worst of the runs that are better. */
  showBetter() {
    const { metric, higherIsBetter } = this.data;
    const edge = metric.place[this.better[0]];
    const axis = this.frame.axes.find(({ column }) => column === metric);
    axis.set(higherIsBetter ? [edge, 1] : [0, edge]);
  }

  tell() {
    const { n } = this.data;
    const count = (number) => number.toLocaleString("en");
    this.find(".pc-count").textContent = `${count(this.shown.length)} shown / ${count(n)} total`;
    const brushes = this.frame.brushes;
    this.find(".pc-all").setAttribute("aria-pressed", String(!brushes.length));
    const isBetter = this.better && this.shown.length === this.better.length && this.better.every((run) => this.mask[run]);
    this.find(".pc-better").setAttribute("aria-pressed", String(Boolean(isBetter)));
    this.tellFilter(brushes);
    this.tellCard();
  }

  tellFilter(brushes) {
    const host = this.find(".pc-filter");
    if (!brushes.length) {
      host.replaceChildren();
      return;
    }
    const terms = brushes.map(({ column }) => filterOf(column, this.shown));
    const unsaid = brushes.filter((_, i) => terms[i] === null).map(({ column }) => column.label);
    const said = this.shown.length && !unsaid.length;
    const words = this.shown.length ? `no filter names these values of ${unsaid.join(", ")}` : "no run is left";
    host.replaceChildren("This selection as a filter: ", said ? commandOf(`--only ${quoted(terms.join(" "))}`) : words);
  }

  // ---- drawing

  layOut() {
    const available = this.find(".pc-scroll").clientWidth;
    const ratio = Math.min(2, devicePixelRatio || 1);
    if (available === this.available && ratio === this.ratio) return;
    Object.assign(this, { available, ratio });
    const { frame } = this;
    frame.layOut(available);
    Object.assign(this.find(".pc-plot").style, { width: `${frame.width}px`, height: `${frame.height}px` });
    this.context.resize(frame.width, frame.height, ratio);
    this.lines.resize(frame.width, frame.height, ratio);
    Object.assign(this.mark, { width: Math.round(frame.width * ratio), height: Math.round(frame.height * ratio) });
    Object.assign(this.mark.style, { width: `${frame.width}px`, height: `${frame.height}px` });
    for (const { column } of frame.axes) column.y = column.drawn.map(frame.yOf);
    if (this.shown) this.redraw();
  }

  redraw() {
    this.hasContext = false;
    this.paint();
  }

  paint() {
    const isBrushed = this.frame.brushes.length > 0;
    this.context.canvas.hidden = !isBrushed;
    if (isBrushed && !this.hasContext) {
      this.context.show(Uint32Array.from({ length: this.data.n }, (_, run) => run));
      this.hasContext = true;
    }
    this.lines.show(this.shown);
    this.painter.ask();
    this.drawMark();
  }

  tracePath(context, run) {
    const { order, xs } = this.frame;
    if (order.length === 1) {
      const x = xs.get(order[0]);
      context.moveTo(x - 12, order[0].column.y[run]);
      context.lineTo(x + 12, order[0].column.y[run]);
    }
    for (const axis of order) context.lineTo(xs.get(axis), axis.column.y[run]);
  }

  styleLine(context, run) {
    const rank = this.data.rank[run];
    const isScored = !Number.isNaN(rank);
    const colour = isScored ? this.shades[Math.round(rank * (this.shades.length - 1))] : this.colours.failed;
    if (this.styled === colour && this.styledFor === context) return;
    Object.assign(this, { styled: colour, styledFor: context });
    context.strokeStyle = colour;
    context.setLineDash(isScored ? [] : [4, 4]);
  }

  styleContext(context) {
    context.strokeStyle = this.colours.faint;
  }

  drawMark() {
    const context = this.mark.getContext("2d");
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.frame.width, this.frame.height);
    const runs = [this.kept, this.hovered].filter((run) => run !== null);
    for (const run of runs) {
      for (const [colour, width] of [[this.colours.paper, 6], [this.colours.mark, 2.5]]) {
        Object.assign(context, { strokeStyle: colour, lineWidth: width, lineJoin: "round" });
        context.beginPath();
        this.tracePath(context, run);
        context.stroke();
      }
    }
  }

  // ---- one run

  point(event) {
    if (event.buttons) return;
    const box = this.find(".pc-plot").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const run = this.nearest(x, y);
    this.hover(run, [x, y]);
  }

  /** The shown run whose line passes nearest, null if none does within reach; of equally near ones the best. */
  nearest(x, y) {
    const { order, xs } = this.frame;
    const right = order.findIndex((axis) => xs.get(axis) >= x);
    if (right < 1) return null;
    const [from, to] = [order[right - 1], order[right]];
    const wide = xs.get(to) - xs.get(from);
    const share = (x - xs.get(from)) / wide;
    const [start, end] = [from.column.y, to.column.y];
    let best = null;
    let least = REACH;
    for (const run of this.shown) {
      const rise = end[run] - start[run];
      const away = Math.abs(start[run] + share * rise - y) / Math.hypot(1, rise / wide);
      if (away <= least) [best, least] = [run, away];
    }
    return best;
  }

  clickLine(event) {
    if (event.target.closest(".pc-track, .pc-end, .pc-title")) return;
    this.keep(this.hovered === this.kept ? null : this.hovered);
  }

  hover(run, at = null) {
    const tip = this.find(".pc-tip");
    tip.hidden = run === null || at === null;
    if (!tip.hidden) {
      tip.textContent = `${this.data.ids[run]}  ${this.scoreText(run)}`;
      tip.style.transform = `translate(${Math.min(at[0] + 14, this.frame.width - 200)}px, ${at[1] + 14}px)`;
    }
    if (run === this.hovered) return;
    this.hovered = run;
    this.drawMark();
    this.tellCard();
  }

  keep(run) {
    this.kept = run;
    this.table.keep(run);
    this.drawMark();
    this.tellCard();
  }

  scoreText(run) {
    const { metric, outcome } = this.data;
    const score = Number.isNaN(this.data.rank[run]) ? outcome.text(run) : `${metric.label} ${metric.text(run)}`;
    return score;
  }

  /** The run under the pointer, else the one that was kept, else the best one shown. */
  tellCard() {
    const best = this.shown.length ? this.shown[this.shown.length - 1] : null;
    const run = this.hovered ?? this.kept ?? best;
    const card = this.find(".pc-card");
    if (run === null) {
      card.replaceChildren("No run is left.");
      return;
    }
    const { data } = this;
    const why = run === this.hovered ? "" : run === this.kept ? "kept" : "best shown";
    const title = element("h3", {}, `Run ${data.ids[run]}`, element("small", {}, why));
    const pairs = data.columns.map((column) => element("div", {}, element("dt", {}, column.label), element("dd", {}, column.text(run))));
    const id = quoted(data.ids[run]);
    const commands = [commandOf(`python -m jobs.explain ${quoted(data.grid)} ${id}`), commandOf(`--only id=${id}`)];
    card.replaceChildren(title, element("dl", {}, ...pairs), element("div", { class: "pc-commands" }, ...commands));
  }

  tellCommon() {
    const details = this.find(".pc-common");
    details.hidden = !this.data.common.length;
    const pairs = this.data.common.map(([name, text]) => element("div", {}, element("dt", {}, name), element("dd", {}, text)));
    details.querySelector("dl").replaceChildren(...pairs);
  }

  // ---- light and dark

  isDark() {
    const chosen = document.documentElement.dataset.theme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  }

  toggleTheme() {
    document.documentElement.dataset.theme = this.isDark() ? "light" : "dark";
    for (const component of components) component.takeTheme();
  }

  takeTheme() {
    const isDark = this.isDark();
    const style = getComputedStyle(this.section);
    const colour = (name) => style.getPropertyValue(`--pc-${name}`).trim();
    this.colours = { paper: colour("paper"), mark: colour("mark"), failed: colour("failed"), faint: colour("faint") };
    this.shades = this.data.shades[isDark ? "dark" : "light"];
    this.styled = null;
    this.find(".pc-ramp").style.background = `linear-gradient(90deg, ${this.shades.join(",")})`;
    this.find(".pc-lost").hidden = !this.data.rank.some(Number.isNaN);
    this.find(".pc-theme").textContent = isDark ? "Light theme" : "Dark theme";
    if (this.shown) this.redraw();
  }
}

/** A command with a button that copies it; where the clipboard is closed the text is selected instead. */
function commandOf(text) {
  const code = element("code", {}, text);
  const button = element("button", { type: "button", "aria-label": `Copy ${text}` }, "Copy");
  button.addEventListener("click", async () => {
    const isCopied = await copy(text);
    if (!isCopied) getSelection().selectAllChildren(code);
    button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (button.textContent = "Copy"), 2000);
  });
  return element("span", { class: "pc-command" }, code, button);
}

function copy(text) {
  if (!navigator.clipboard) return Promise.resolve(false);
  return navigator.clipboard.writeText(text).then(() => true, () => false);
}

const components = [...document.querySelectorAll("section.pc")].map((section) => new Component(section));
