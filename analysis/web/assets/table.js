// The table of the runs that are shown; only the rows in sight exist in the document.

const ROW = 28; // pixels
const ROWS_IN_SIGHT = 12;
const WIDEST = 24; // characters

class Table {
  constructor(host, data, on) {
    Object.assign(this, { host, data, on });
    this.table = host.querySelector("table");
    this.body = host.querySelector("tbody");
    this.columns = [data.metric, ...data.columns.filter((column) => column !== data.metric)];
    this.runs = []; // as shown, in the order of the rows
    this.active = -1;
    this.kept = null;
    this.sortBy(data.metric, data.higherIsBetter);
    this.makeHead();
    host.addEventListener("scroll", () => this.draw());
    this.table.addEventListener("keydown", (event) => this.key(event));
    this.body.addEventListener("click", (event) => this.withRow(event, (row) => this.choose(row)));
    this.body.addEventListener("pointerover", (event) => this.withRow(event, (row) => on.hover(this.runs[row])));
    this.body.addEventListener("pointerleave", () => on.hover(null));
    this.table.addEventListener("focus", () => this.activate(Math.max(0, this.active)));
  }

  makeHead() {
    const heads = [["#", null], ["run", "id"], ...this.columns.map((column) => [column.label, column])];
    const widths = heads.map(([text, column]) => `${Math.max(text.length + 1, widthOf(column, this.data.n))}ch`);
    this.table.prepend(element("colgroup", {}, ...widths.map((width) => {
      const col = element("col");
      col.style.width = `calc(${width} + 1.2em)`;
      return col;
    })));
    this.heads = heads.map(([text, column]) => this.makeHeadCell(text, column));
    this.table.querySelector("thead").replaceChildren(element("tr", { "aria-rowindex": "1" }, ...this.heads));
    this.tellSorting();
  }

  makeHeadCell(text, column) {
    const cell = element("th", { scope: "col", title: text });
    cell.column = column;
    if (!column) {
      cell.append(text);
      return cell;
    }
    const button = element("button", { type: "button" }, shortened(text, WIDEST));
    button.addEventListener("click", () => {
      const isFirstTime = this.sorting.column !== column;
      const best = column === this.data.metric && this.data.higherIsBetter;
      this.sortBy(column, isFirstTime ? best : !this.sorting.isDescending);
      this.tellSorting();
      this.show(this.mask);
    });
    cell.append(button);
    return cell;
  }

  tellSorting() {
    for (const cell of this.heads) {
      const isSorted = cell.column === this.sorting.column;
      if (isSorted) cell.setAttribute("aria-sort", this.sorting.isDescending ? "descending" : "ascending");
      else cell.removeAttribute("aria-sort");
    }
  }

  /** All runs in the order asked for; missing values last in both directions, equal ones the best first. */
  sortBy(column, isDescending) {
    this.sorting = { column, isDescending };
    const sign = isDescending ? -1 : 1;
    const { ids, n } = this.data;
    const compare = column === "id"
      ? (a, b) => sign * (ids[a] < ids[b] ? -1 : Number(ids[a] > ids[b]))
      : (a, b) => Number.isNaN(column.key[a]) - Number.isNaN(column.key[b]) || sign * (column.key[a] - column.key[b]) || b - a;
    this.permutation = Uint32Array.from({ length: n }, (_, run) => run).sort(compare);
  }

  /** Shows the runs whose place in `mask` is 1. */
  show(mask) {
    this.mask = mask;
    this.runs = this.permutation.filter((run) => mask[run]);
    this.table.setAttribute("aria-rowcount", this.runs.length + 1);
    this.active = Math.min(this.active, this.runs.length - 1);
    this.host.style.height = `${(Math.min(ROWS_IN_SIGHT, Math.max(1, this.runs.length)) + 1) * ROW + 18}px`;
    this.first = -1;
    this.draw();
  }

  draw() {
    const fits = Math.ceil(this.host.clientHeight / ROW) + 2;
    const first = Math.max(0, Math.min(Math.floor(this.host.scrollTop / ROW) - 1, this.runs.length - fits));
    if (first === this.first) return;
    this.first = first;
    const last = Math.min(this.runs.length, first + fits);
    const rows = [];
    for (let row = first; row < last; row++) rows.push(this.makeRow(row));
    this.body.replaceChildren(spacer(first), ...rows, spacer(this.runs.length - last));
    this.tellActive();
  }

  makeRow(row) {
    const run = this.runs[row];
    const made = element("tr", { id: `${this.table.id}-${row}`, "aria-rowindex": row + 2, "data-row": row });
    if (run === this.kept) made.setAttribute("aria-selected", "true");
    const texts = [String(row + 1), this.data.ids[run], ...this.columns.map((column) => column.text(run))];
    made.append(...texts.map((text) => element("td", { title: text }, text)));
    return made;
  }

  withRow(event, act) {
    const row = event.target.closest("tr[data-row]");
    if (row) act(Number(row.dataset.row));
  }

  key(event) {
    if (event.target !== this.table) return;
    const page = ROWS_IN_SIGHT - 1;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key in steps) this.activate(this.active + steps[event.key]);
    else if ((event.key === "Enter" || event.key === " ") && this.active >= 0) this.choose(this.active);
    else if (event.key === "Escape") this.on.keep(null);
    else return;
    event.preventDefault();
  }

  choose(row) {
    this.active = row;
    this.on.keep(this.runs[row] === this.kept ? null : this.runs[row]);
  }

  activate(row) {
    if (!this.runs.length) return;
    this.active = Math.min(this.runs.length - 1, Math.max(0, row));
    const top = this.active * ROW;
    const inSight = this.host.clientHeight - 2 * ROW;
    if (top < this.host.scrollTop) this.host.scrollTop = top;
    if (top > this.host.scrollTop + inSight) this.host.scrollTop = top - inSight;
    this.draw();
    this.tellActive();
    this.on.hover(this.runs[this.active]);
  }

  tellActive() {
    for (const row of this.body.querySelectorAll(".pc-active")) row.classList.remove("pc-active");
    const row = this.active >= 0 && this.body.querySelector(`[data-row="${this.active}"]`);
    if (row) row.classList.add("pc-active");
    if (row) this.table.setAttribute("aria-activedescendant", row.id);
    else this.table.removeAttribute("aria-activedescendant");
  }

  keep(run) {
    this.kept = run;
    this.first = -1;
    this.draw();
  }
}

function spacer(rows) {
  const made = element("tr", { "aria-hidden": "true" });
  made.style.height = `${rows * ROW}px`;
  return made;
}

function widthOf(column, n) {
  if (column === null) return String(n).length + 1;
  if (column === "id") return 12;
  return Math.min(WIDEST, column.texts ? Math.max(...column.texts.slice(0, 1000).map((text) => text.length), 4) : 11);
}
