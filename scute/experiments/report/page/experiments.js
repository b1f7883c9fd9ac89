// The table of experiments: sorted, filtered, two of them picked.

const experiments_view = {sort: "number", descending: true, filter: "", picked: [], body: null};

/// Columns: key, title, what to sort and show; text columns start at the left. Results, a column a
/// metric of the log, stand before the last.
const setting_columns = [
  {key: "number", title: "#", value: (one) => one.number, show: (one) => String(one.number)},
  {key: "timestamp", title: "time", text: true, value: (one) => one.timestamp},
  {key: "model", title: "model", text: true, value: (one) => setting(one, "model"),
   show: (one) => short_path(setting(one, "model"))},
  {key: "bits", title: "bits", text: true, value: (one) => bits_of(one)},
  {key: "policy", title: "policy", text: true, value: (one) => setting(one, "policy")},
  {key: "alpha", title: "α", value: (one) => setting(one, "percentile_alpha"),
   show: (one) => significant(setting(one, "percentile_alpha"), 6)},
  {key: "methods", title: "methods", text: true, value: (one) => methods_of(one)},
];

let columns = setting_columns;

/// The last two parts of a path: what tells models of one folder apart. The cell's title has all.
function short_path(path) {
  const parts = String(path ?? dash).split("/");
  return parts.length > 3 ? "…/" + parts.slice(-2).join("/") : parts.join("/");
}

function metric_column(metric) {
  return {key: metric.name, title: metric.title + (metric.unit ? " " + metric.unit : ""),
          value: (one) => one.results[metric.name]?.value,
          show: (one) => one.not_finite ? "not finite"
            : with_error(one.results[metric.name], metric.factor)};
}

function setting(one, key) {
  return one.config === null || typeof one.config !== "object" ? undefined : one.config[key];
}

function bits_of(one) {
  const [w, a] = [setting(one, "w_bits"), setting(one, "a_bits")];
  return w === undefined && a === undefined ? undefined : "W" + (w ?? "?") + "A" + (a ?? "?");
}

function methods_of(one) {
  const names = {apply_gptq: "GPTQ", group_heads: "grouped heads", hadamard: "Hadamard",
                 quantize_embedding: "embedding", quantize_lm_head: "head"};
  return Object.keys(names).filter((key) => setting(one, key) === true)
    .map((key) => names[key]).join(", ");
}

/// "27.17 ± 0.61": as many digits as the error has two of; "0 (at most 0.3)" of a share of which
/// none or all were hit.
function with_error(result, unit) {
  if (!result) return dash;
  const value = unit * result.value;
  if (typeof result.bound === "number") {
    return significant(value) + (result.value > 0 ? " (at least " : " (at most ") +
      significant(unit * result.bound, 3) + ")";
  }
  if (!(result.error > 0)) return significant(value);
  const error = unit * result.error;
  const digits = Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(error))));
  return fixed(value, digits) + " ± " + fixed(error, digits);
}

function build_experiments() {
  if (!data.log || data.log.experiments.length === 0) {
    empty("experiments", data.log ? "The log holds no experiment yet: scute run writes one a run."
      : "No experiments here. Pass --log FILE, the log that scute run writes.");
    return;
  }
  const {log} = data;
  const listed = log.metrics.filter((metric) => metric.listed);
  columns = [...setting_columns.slice(0, -1), ...listed.map(metric_column), setting_columns.at(-1)];
  const filter = el("input", {type: "search", id: "filter", placeholder: "a_bits: 8, mamba2",
    "aria-describedby": "filter-help", oninput: () => {
      experiments_view.filter = filter.value;
      list_experiments();
    }});
  const head = el("tr", {}, el("th", {scope: "col", class: "text"}, "pick"),
                  ...columns.map(heading));
  experiments_view.head = head;
  experiments_view.body = el("tbody", {});
  experiments_view.found = el("p", {class: "muted note", "aria-live": "polite"});
  experiments_view.comparison = el("div", {id: "comparison", "aria-live": "polite"});
  body_of("experiments").append(
    el("div", {class: "controls"}, el("label", {}, el("span", {}, "Filter"), filter),
       el("p", {class: "muted note", id: "filter-help"}, "A setting as “key: value”, or part of " +
          "a model’s name or a command; commas join several.")),
    experiments_view.found,
    scroll_box("Experiments", el("table", {id: "experiment-table"}, el("thead", {}, head),
                                 experiments_view.body), true),
    experiments_view.comparison);
  for (const remark of log.remarks) {
    body_of("experiments").append(el("p", {class: "muted"}, "Remark: " + remark));
  }
  list_experiments();
  show_comparison();
}

function heading(column) {
  return el("th", {scope: "col", class: column.text ? "text" : null, "data-key": column.key},
    el("button", {type: "button", onclick: () => {
      const same = experiments_view.sort === column.key;
      experiments_view.descending = same && !experiments_view.descending;
      experiments_view.sort = column.key;
      list_experiments();
    }}, column.title));
}

/// Missing values come last whichever way the rest is sorted.
function compare_by(column, sign) {
  const missing = (x) => x === undefined || x === null || x === "";
  return (a, b) => {
    const x = column.value(a), y = column.value(b);
    if (missing(x) || missing(y)) return missing(x) - missing(y) || b.number - a.number;
    const order = typeof x === "number" && typeof y === "number" ? x - y
      : natural(String(x), String(y));
    return sign * order || b.number - a.number;
  };
}

function list_experiments() {
  const view = experiments_view;
  const column = columns.find((one) => one.key === view.sort);
  const terms = split_terms(view.filter);
  const all = data.log.experiments;
  const rows = all.filter((one) => terms.every((term) => matches(one, term)))
    .sort(compare_by(column, view.descending ? -1 : 1));
  for (const th of view.head.querySelectorAll("th[data-key]")) {
    if (th.dataset.key !== view.sort) th.removeAttribute("aria-sort");
    else th.setAttribute("aria-sort", view.descending ? "descending" : "ascending");
  }
  view.body.replaceChildren(...rows.map(experiment_row));
  const of = rows.length === all.length ? count_of(all.length, "experiment")
    : whole(rows.length) + " of " + count_of(all.length, "experiment");
  view.found.textContent = of + (data.log.total > all.length
    ? ", the newest of " + whole(data.log.total) + " in " + data.log.file : "");
}

function experiment_row(one) {
  const picked = experiments_view.picked.includes(one);
  const box = el("input", {type: "checkbox", checked: picked,
                           "aria-label": "Compare experiment " + one.number,
                           onchange: () => pick(one, box.checked)});
  const out = el("tr", {class: picked ? "picked" : null, "data-number": one.number},
    el("td", {class: "text"}, box), ...columns.map((column) => {
      const whole_text = String(column.value(one) ?? dash) || dash;
      const text = column.show ? column.show(one) : whole_text;
      return el("td", {class: column.text ? "text long" : null,
                       title: column.text ? whole_text : null}, text);
    }));
  return out;
}

/// Two at most: a third takes the place of the one picked first.
function pick(one, wanted) {
  const view = experiments_view;
  view.picked = view.picked.filter((other) => other !== one);
  if (wanted) view.picked = [...view.picked, one].slice(-2);
  for (const row of view.body.rows) {
    const picked = view.picked.some((other) => String(other.number) === row.dataset.number);
    row.classList.toggle("picked", picked);
    row.querySelector("input").checked = picked;
  }
  show_comparison();
}

/// Terms between commas, but not those inside quotes, brackets or braces.
function split_terms(text) {
  const out = [""];
  let depth = 0, quoted = false;
  for (const c of text) {
    if (c === '"') quoted = !quoted;
    if (!quoted && "[{".includes(c)) ++depth;
    if (!quoted && "]}".includes(c)) --depth;
    if (c === "," && !quoted && depth <= 0) out.push("");
    else out[out.length - 1] += c;
  }
  return out.map((term) => term.trim()).filter(Boolean);
}

/// As scute log --filter: "key: value" is a setting of that name at any depth; anything else is a
/// piece of the model's name or of the command.
function matches(one, term) {
  const found = /^([\w\s-]+):([\s\S]*)$/.exec(term);
  const key = found && key_form(found[1].trim()), text = found && found[2].trim();
  if (found && /^[a-z0-9_]+$/.test(key) && text) {
    if (has_member(one.config, key, text, value_of(text))) return true;
    if (/^[ \t]/.test(found[2])) return false;
  }
  const piece = term.toLowerCase();
  return String(setting(one, "model") ?? "").toLowerCase().includes(piece) ||
    one.command.toLowerCase().includes(piece);
}

function key_form(key) {
  return key.toLowerCase().replaceAll("-", "_");
}

/// JSON, or Python's words for it; nothing for a bare string.
function value_of(text) {
  const words = {true: true, false: false, none: null};
  const small = text.toLowerCase();
  if (Object.hasOwn(words, small)) return words[small];
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function has_member(json, key, text, value) {
  if (json === null || typeof json !== "object") return false;
  if (Array.isArray(json)) return json.some((inner) => has_member(inner, key, text, value));
  const small = text.toLowerCase();
  const equals = (inner) => (typeof inner === "string" && inner.toLowerCase() === small) ||
    (value !== undefined && JSON.stringify(inner) === JSON.stringify(value));
  return Object.entries(json).some(([name, inner]) =>
    (key_form(name) === key && equals(inner)) || has_member(inner, key, text, value));
}
