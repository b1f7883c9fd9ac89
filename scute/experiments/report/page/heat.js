// The heat map: one cell a site, ops down, layers across.

/// Cividis (Nuñez, Anderton, Renslow 2018), ten stops: looks the same with and without
/// colour-blindness, and gets lighter all the way.
const stops = ["#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74",
               "#c3b369", "#e1cc55", "#fee838"].map((hex) =>
  [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));

/// [css colour, whether dark text is read better on it] for a share in [0, 1].
function heat_color(share) {
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const below = Math.min(stops.length - 2, Math.floor(at));
  const [r, g, b] = stops[below].map((low, i) =>
    Math.round(low + (stops[below + 1][i] - low) * (at - below)));
  return ["rgb(" + r + "," + g + "," + b + ")", 0.299 * r + 0.587 * g + 0.114 * b > 118];
}

/// value(site, policy), its place on the scale, and its words.
const heat_metrics = [
  {name: "SQNR at 8 bits", value: (site, p) => site.policies[p][4], show: decibels, unit: " dB"},
  {name: "SQNR at 4 bits", value: (site, p) => site.policies[p][3], show: decibels, unit: " dB"},
  {name: "SQNR at 16 bits", value: (site, p) => site.policies[p][5], show: decibels, unit: " dB"},
  {name: "Range seen", value: (site) => site.max - site.min, place: (x) => Math.log10(x),
   show: (x) => significant(x, 3), unit: "", policy_free: true},
  {name: "Range kept", value: (site, p) => site.policies[p][1] - site.policies[p][0],
   place: (x) => Math.log10(x), show: (x) => significant(x, 3), unit: ""},
  {name: "Saturation", value: (site, p) => site.policies[p][2],
   show: (x) => significant(100 * x, 2), unit: " % clipped"},
];

function build_heat() {
  if (data.statistics.length === 0) {
    empty("heat", "No statistics here. Pass --stats FILE to see all sites at once.");
    return;
  }
  const view = {statistics: 0, policy: 0, metric: 0};
  const set = (key) => (value) => { view[key] = Number(value); draw(); };
  const statistics = select("Statistics", statistics_choices(), set("statistics"));
  const metric = select("Metric", heat_metrics.map((one, i) => [String(i), one.name]),
                        set("metric"));
  metric.box.id = "heat-metric";
  const policy = select("Policy", data.statistics[0].policies.map((name, i) => [String(i), name]),
                        set("policy"));
  const legend = el("div", {class: "legend"});
  const readout = el("p", {class: "readout", "aria-live": "polite"});
  const cells_box = el("div", {});
  const box = scroll_box("Heat map", cells_box);
  body_of("heat").append(el("div", {class: "controls"}, statistics.element, metric.element,
                            policy.element, legend), box, readout);

  function draw() {
    const cells = heat_cells(data.statistics[view.statistics], heat_metrics[view.metric],
                             view.policy);
    policy.element.hidden = heat_metrics[view.metric].policy_free === true;
    legend.replaceChildren(...heat_legend(cells, heat_metrics[view.metric]));
    cells_box.replaceChildren(cells.items.size === 0
      ? el("p", {class: "empty"}, "None of these sites is in a layer.")
      : heat_table(cells, view, readout));
    readout.textContent = "Point at a cell, or move to it with the arrow keys, to read it.";
  }
  draw();
}

/// The sites of layers with their values: items by "op layer", and the span of the scale.
function heat_cells(statistics, metric, policy) {
  const items = new Map(), ops = new Set(), layers = new Set();
  let low = Infinity, high = -Infinity;
  for (const site of statistics.sites) {
    if (site.layer === null || !site.policies) continue;
    const value = metric.value(site, policy) ?? null;
    const place = value === null ? null : metric.place ? metric.place(value) : value;
    if (Number.isFinite(place) && place !== null) {
      low = Math.min(low, place);
      high = Math.max(high, place);
    }
    ops.add(site.op);
    layers.add(site.layer);
    items.set(site.op + " " + site.layer, {site, value, place,
      text: metric.show(value), words: site.name + ": " + metric.name + " " + metric.show(value) +
      (value === null ? "" : metric.unit)});
  }
  return {items, low, high, ops: [...ops], layers: [...layers].sort((a, b) => a - b)};
}

function share_of(cells, place) {
  if (place === null) return 1;  // no noise at all
  if (!Number.isFinite(place)) return 0;  // a range of width 0 has no logarithm
  return cells.high > cells.low ? (place - cells.low) / (cells.high - cells.low) : 0.5;
}

function heat_legend(cells, metric) {
  if (cells.low > cells.high) return [];
  const bar = el("span", {class: "bar"});
  bar.style.background = "linear-gradient(to right," + stops.map((_, i) =>
    heat_color(i / (stops.length - 1))[0]).join(",") + ")";
  const real = (place) => metric.show(metric.place ? 10 ** place : place);
  return [el("span", {}, real(cells.low)), bar, el("span", {}, real(cells.high) + metric.unit)];
}

function heat_table(cells, view, readout) {
  const head = el("tr", {role: "row"}, el("th", {scope: "col"}, ""),
    ...cells.layers.map((layer) => el("th", {scope: "col", role: "columnheader"}, String(layer))));
  const rows = cells.ops.map((op) => el("tr", {role: "row"},
    el("th", {scope: "row", role: "rowheader"}, op),
    ...cells.layers.map((layer) => heat_cell(cells, op, layer, view, readout))));
  const out = el("table", {class: cells.layers.length > 16 ? "heat dense" : "heat", role: "grid",
                           "aria-label": heat_metrics[view.metric].name + " by op and layer"},
    el("thead", {}, head), el("tbody", {}, ...rows));
  const first = out.querySelector("td");
  if (first) first.tabIndex = 0;
  out.addEventListener("keydown", (event) => move_in_grid(out, event));
  return out;
}

function heat_cell(cells, op, layer, view, readout) {
  const item = cells.items.get(op + " " + layer);
  const words = item ? item.words : "layer " + layer + " has no " + op;
  const tell = () => { readout.textContent = words; };
  const open = () => { if (item) open_site(view.statistics, item.site); };
  const out = el("td", {role: "gridcell", tabindex: -1, "aria-label": words, onfocus: tell,
                        onmouseenter: tell, onclick: open, onkeydown: (event) => {
                          if (event.key === "Enter") open();
                        }}, item ? item.text : "");
  if (item) {
    const [color, dark_text] = heat_color(share_of(cells, item.place));
    out.style.backgroundColor = color;
    out.style.color = dark_text ? "#111" : "#fff";
  }
  return out;
}

/// Arrow keys, Home and End; one cell of the grid is in the tab order at a time.
function move_in_grid(grid, event) {
  const steps = {ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0],
                 Home: [0, -1e6], End: [0, 1e6]};
  const step = steps[event.key];
  const from = event.target.closest("td");
  if (!step || !from) return;
  event.preventDefault();
  const rows = [...grid.tBodies[0].rows];
  const row = Math.min(rows.length - 1, Math.max(0, rows.indexOf(from.parentNode) + step[0]));
  const cells = rows[row].querySelectorAll("td");
  const column = [...from.parentNode.querySelectorAll("td")].indexOf(from) + step[1];
  const to = cells[Math.min(cells.length - 1, Math.max(0, column))];
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}
