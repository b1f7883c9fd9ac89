// Two experiments side by side. What their difference means was computed by scute, not here.

const verdict_classes = ["better", "worse", "", "", ""];

function show_comparison() {
  const {picked, comparison} = experiments_view;
  if (picked.length < 2) {
    comparison.replaceChildren(el("h3", {}, "Comparison"), el("p", {class: "empty"},
      picked.length === 0 ? "Tick two experiments above." : "Tick one more experiment above."));
    return;
  }
  const all = data.log.experiments;
  const [i, j] = picked.map((one) => all.indexOf(one)).sort((a, b) => a - b);
  const [a, b] = [all[i], all[j]];
  const only = el("input", {type: "checkbox", checked: true, onchange: () => fill()});
  const settings = el("div");
  const fill = () => settings.replaceChildren(settings_table(a, b, only.checked));
  fill();
  comparison.replaceChildren(
    el("h3", {}, "Experiment " + b.number + " against " + a.number),
    results_of(i, j, a, b),
    el("h3", {}, "Settings"),
    el("label", {}, only, "only those that differ"), scroll_box("Settings", settings),
    el("details", {}, el("summary", {}, "Command lines"),
       ...[a, b].map((one) => el("p", {}, one.number + ": ", el("code", {}, one.command)))));
}

function results_of(i, j, a, b) {
  const pair = data.log.pairs.find((row) => row[0] === i && row[1] === j);
  if (!pair) return el("p", {class: "empty"}, "They have no result in common.");
  const rows = pair.slice(2).map((row) => {
    const [place, difference, error, p, items, paired, verdict, words, ratio] = row;
    const metric = data.log.metrics[place], {factor, unit} = metric;
    const comparable = verdict !== 4;
    const scale = ratio ? 100 : factor;
    const behind = ratio ? " %" : unit === "%" ? " points" : unit ? " " + unit : "";
    return [metric.label + (unit ? " (" + unit + ")" : "") + ", " + metric.better + " is better",
            with_error(a.results[metric.name], factor), with_error(b.results[metric.name], factor),
            comparable ? signed(scale * difference, scale * error) + behind : dash,
            comparable && verdict !== 3 ? p_text(p) : dash,
            comparable ? whole(items) + (paired ? ", paired" : "") : dash,
            el("span", {class: "verdict " + verdict_classes[verdict]}, data.log.words[words])];
  });
  const out = table([["result", true], [String(a.number)], [String(b.number)], ["difference ± SE"],
                     ["p"], ["items"], ["verdict on " + b.number, true]], rows, "Results compared");
  for (const row of out.tBodies[0].rows) row.lastChild.classList.add("wrap");
  return el("div", {}, scroll_box("Results compared", out), el("p", {class: "muted small"},
    "Differences in % are ratios. p is of this one comparison; asking about " +
    "many pairs makes small values likelier."));
}

function signed(x, error) {
  const digits = error > 0 ? Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(error)))) : 2;
  return (x > 0 ? "+" : "") + fixed(x, digits) + (error > 0 ? " ± " + fixed(error, digits) : "");
}

function p_text(p) {
  return typeof p !== "number" ? dash : p < 0.001 ? "< 0.001" : fixed(p, p < 0.01 ? 3 : 2);
}

/// One line a setting, nested ones as outer.inner.
function flat(json, prefix, out) {
  for (const [key, value] of Object.entries(json ?? {})) {
    if (value !== null && typeof value === "object" && !Array.isArray(value)) {
      flat(value, prefix + key + ".", out);
    } else {
      out.set(prefix + key, typeof value === "string" ? value : JSON.stringify(value));
    }
  }
  return out;
}

function settings_table(a, b, only_different) {
  const of = (one) => flat({...(typeof one.config === "object" ? one.config : {}),
    ...Object.fromEntries(Object.entries(one.hashes ?? {}).map(([k, v]) => ["sha256 of " + k, v])),
    "scute": one.version, "seconds": one.seconds}, "", new Map());
  const [x, y] = [of(a), of(b)];
  const keys = [...new Set([...x.keys(), ...y.keys()])];
  const differs = (key) => x.get(key) !== y.get(key);
  const shown = keys.filter((key) => !only_different || differs(key));
  if (shown.length === 0) return el("p", {class: "empty"}, "No setting differs.");
  const out = table([["setting", true], [String(a.number), true], [String(b.number), true],
                     ["", true]],
    shown.map((key) => [key, x.get(key) ?? dash, y.get(key) ?? dash,
                        differs(key) ? "differs" : ""]), "Settings of both");
  shown.forEach((key, i) => out.tBodies[0].rows[i].classList.toggle("differs", differs(key)));
  return out;
}
