"""How the page of a report looks, in light, in the dark and on paper."""

from __future__ import annotations

STYLE = """\
:root {
  color-scheme: light dark;
  --ink: #1b1b1b; --soft: #5a5a5a; --line: #c9c9c9; --back: #fff;
  --note: #fff4d6; --edge: #b07a00; --link: #0a58a8;
}
@media (prefers-color-scheme: dark) {
  :root:not([data-theme="light"]) {
    --ink: #e8e8e8; --soft: #b0b0b0; --line: #4a4a4a; --back: #161616;
    --note: #33290f; --edge: #d9a437; --link: #7db8f5;
  }
}
:root[data-theme="dark"] {
  --ink: #e8e8e8; --soft: #b0b0b0; --line: #4a4a4a; --back: #161616;
  --note: #33290f; --edge: #d9a437; --link: #7db8f5;
}
* { box-sizing: border-box; }
body {
  font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--back);
  margin: 0 auto; max-width: 66rem; padding: 1.5rem;
}
h1 { font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
main > section > h2 {
  font-size: 1.35rem; margin-top: 2.6rem; border-bottom: 1px solid var(--line);
}
sup { line-height: 0; }
p, li { max-width: 46rem; overflow-wrap: anywhere; }
.lead { font-size: 1.1rem; }
a { color: var(--link); }
nav ol { columns: 2 16rem; padding-left: 1.6rem; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption {
  caption-side: bottom; text-align: left; color: var(--soft);
  padding-top: .6rem; max-width: 60rem;
}
th, td { padding: .2rem .7rem; text-align: right; vertical-align: top; font-weight: normal; }
th.text, td.text { text-align: left; overflow-wrap: break-word; max-width: 34rem; }
thead th { border-top: 2px solid; border-bottom: 1px solid; font-weight: 600; }
tbody tr:last-child > * { border-bottom: 2px solid; }
tr.rule > * { border-top: 1px solid; }
tbody tr:hover { background: color-mix(in srgb, var(--ink) 7%, transparent); }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; padding: .3rem; }
figcaption { color: var(--soft); font-size: .9rem; max-width: 46rem; }
pre {
  background: color-mix(in srgb, var(--ink) 6%, transparent);
  padding: .8rem 1rem; overflow-x: auto; font-size: .85rem; border-radius: 4px;
}
.notice {
  background: var(--note); border-left: 4px solid var(--edge);
  padding: .5rem 1rem; max-width: 46rem; overflow-wrap: anywhere;
}
details { margin: 1rem 0; }
summary { cursor: pointer; }
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav, .component { display: none; }
  h2 { break-after: avoid; }
  figure, tr, .notice { break-inside: avoid; }
  .scroll { overflow: visible; }
  pre { white-space: pre-wrap; }
  a { color: inherit; text-decoration: none; }
}
"""
PRINT_SCRIPT = """\
addEventListener("beforeprint", () => {
  document.querySelectorAll("details").forEach((part) => { part.open = true; });
});
"""
