// Buckets: the four canonical sites of a vision-language model, side by side. Pages of other models
// have no such section.

/// How the values of each come about.
const bucket_texts = {
  "vision.siglip": "What the SigLIP tower gives the projector: the output of its block before " +
    "the last, without the final norm.",
  "vision.dino": "What the DINOv2 tower gives the projector: the output of its block before " +
    "the last, without the final norm and without class and register tokens.",
  "llm": "Embeddings of the text’s tokens, as the language model takes them in after the picture.",
  "projector": "What the projector makes of both towers’ outputs: one vector a patch, placed " +
    "before the text’s embeddings.",
};
/// The policies shown, by how their names begin; the first is what decide uses for buckets.
const bucket_policies = ["tail", "minmax", "mse", "auto", "percentile"];

const buckets_view = {statistics: 0, policy: null, choice: null, body: null,
                      drawn: []};

function buckets_of(statistics) {
  return statistics.sites.filter((site) => site.bucket);
}

/// Numbers of the ranges shown: some policies, and the plans that name a bucket.
function bucket_choices(statistics) {
  const policies = bucket_policies.map((start) =>
    statistics.policies.findIndex((name) => name.split(":")[0] === start)).filter((i) => i >= 0);
  const plans = data.plans.map((_, k) => statistics.policies.length + k).filter((i) =>
    buckets_of(statistics).some((site) => site.policies && range_of(statistics, site, i)));
  return [...policies, ...plans];
}

function build_buckets() {
  const having = data.statistics.map((one, i) => [String(i), one.name])
    .filter(([i]) => buckets_of(data.statistics[Number(i)]).length > 0);
  if (having.length === 0) return;
  add_section("buckets", "Buckets", "The places where the towers, the projector and the language " +
              "model meet. Counts are exact and on a logarithmic scale; below the bracket lies " +
              "what the policy keeps at 8 bits.");
  buckets_view.statistics = Number(having[0][0]);
  const pick = select("Statistics", having, (value) => {
    buckets_view.statistics = Number(value);
    show_buckets();
  });
  const policy = select("Range drawn", [], (value) => {
    buckets_view.policy = Number(value);
    draw_buckets();
  });
  policy.box.id = "bucket-policy";
  policy.element.hidden = false;
  buckets_view.choice = policy.box;
  buckets_view.body = el("div");
  body_of("buckets").append(el("div", {class: "controls"}, pick.element, policy.element),
                            buckets_view.body);
  show_buckets();
}

/// A section before all others, and its link.
function add_section(id, title, lead) {
  document.getElementById("content").prepend(el("section", {id, "aria-labelledby": id + "-title"},
    el("h2", {id: id + "-title"}, title), el("p", {class: "lead"}, lead), el("div",
                                                                             {class: "body"})));
  document.querySelector("#nav ul").prepend(el("li", {}, el("a", {href: "#" + id}, title)));
}

function show_buckets() {
  const statistics = data.statistics[buckets_view.statistics];
  const buckets = buckets_of(statistics);
  fill_choice(statistics);
  forget_charts(buckets_view.drawn);
  buckets_view.drawn = [];
  const cards = buckets.map((site) => bucket_card(site));
  const missing = Object.keys(bucket_texts).filter((name) =>
    !buckets.some((site) => site.name === name));
  buckets_view.body.replaceChildren(
    figures(bucket_origin(statistics.meta)), el("div", {class: "cards"}, ...cards),
    missing.length ? el("p", {class: "muted small"}, "Not in this file: " + missing.join(", ") +
                        ".") : "",
    el("h3", {}, "What passed"),
    scroll_box("What passed each bucket", bucket_values(statistics, buckets)),
    el("h3", {}, "What each policy keeps at 8 bits"),
    scroll_box("What each policy keeps of the buckets", bucket_ranges(statistics, buckets)));
  draw_buckets();
}

/// What was drawn stays chosen when these statistics have it, too.
function fill_choice(statistics) {
  const choices = bucket_choices(statistics), names = range_names(statistics);
  buckets_view.choice.replaceChildren(...choices.map((i) => el("option", {value: i}, names[i])));
  if (!choices.includes(buckets_view.policy)) buckets_view.policy = choices[0];
  buckets_view.choice.value = String(buckets_view.policy);
}

function bucket_card(site) {
  const caption = el("p", {class: "kept small"});
  const card = el("div", {class: "card"}, el("h3", {class: "site"}, site.name),
                  el("p", {class: "muted small"}, bucket_texts[site.name]));
  if (!site.policies) {
    card.append(el("p", {class: "empty"}, "No finite value passed here."));
    return card;
  }
  const drawn = make_chart((colors) => bucket_chart(site, colors));
  drawn.element.classList.add("small-chart");
  buckets_view.drawn.push({site, drawn, caption});
  card.append(drawn.element, caption,
              el("button", {type: "button", onclick: () =>
                open_site(buckets_view.statistics, site)}, "All of " + site.name));
  return card;
}

function draw_buckets() {
  const i = buckets_view.policy, statistics = data.statistics[buckets_view.statistics];
  for (const {site, drawn, caption} of buckets_view.drawn) {
    const range = range_of(statistics, site, i);
    const words = range_names(statistics)[i] + (range ? " keeps " + significant(range.lo) + " to " +
      significant(range.hi) + ", " + coverage(range.clipped) + " of the values"
      : " does not name this bucket");
    caption.replaceChildren(range_key(i), words + ".");
    drawn.draw("Distribution of " + site.name + ": " + count_of(site.count, "value") + " from " +
               significant(site.min) + " to " + significant(site.max) + "; " + words + ".");
  }
  for (const row of buckets_view.body.querySelectorAll("tr[data-policy]")) {
    row.classList.toggle("picked", Number(row.dataset.policy) === i);
  }
}

function bucket_chart(site, colors) {
  const i = buckets_view.policy;
  const range = range_of(data.statistics[buckets_view.statistics], site, i);
  const outline = linear_bins_of(site).flatMap(([from, to, count]) =>
    [from, to].map((x) => ({x, y: Math.max(count, 0.5), count, from, to})));
  const options = plain_options("value", "values per bin");
  options.layout = {padding: {top: row_height, right: 6}};
  options.interaction = {mode: "nearest", axis: "x", intersect: false};
  options.plugins = {legend: {display: false}, tooltip: {displayColors: false, callbacks: {
    title: () => "", label: (item) => significant(item.raw.from) + " to " +
      significant(item.raw.to) + ": " + count_of(item.raw.count, "value")}}};
  options.scales.x = {type: "linear", min: outline[0].x, max: outline[outline.length - 1].x,
                      grid: {display: false},
                      ticks: {maxRotation: 0, maxTicksLimit: 6, includeBounds: false,
                              callback: (value) => significant(value, 3)}};
  options.scales.y = {type: "logarithmic", min: 0.5,
                      ticks: {callback: (value) => short_power(value)}};
  const rows = range ? [{name: "", ...range_style(colors, i), strong: true, from: range.lo,
                         to: range.hi, ends: [range.lo, range.hi]}] : [];
  return {type: "line", options, plugins: [range_rows(rows)], data: {datasets: [{
    data: outline, fill: "start", backgroundColor: colors.fill, borderColor: colors.fill_line,
    borderWidth: 1, pointRadius: 0, pointHitRadius: 12, tension: 0}]}};
}

/// A row a bucket: how many values, their extremes and percentiles.
function bucket_values(statistics, buckets) {
  const rows = buckets.map((site) => [
    site.name, whole(site.count), significant(site.min),
    ...statistics.percentiles.map((_, k) => significant(site.bucket.percentiles?.[k])),
    significant(site.max), warned(site.nans), warned(site.infs)]);
  return table([["bucket", true], ["values"], ["min"],
                ...statistics.percentiles.map((p) => ["p" + p]), ["max"], ["NaN"], ["infinite"]],
               rows, "Values, extremes and percentiles of each bucket");
}

function warned(n) {
  return n ? el("span", {class: "warn"}, whole(n)) : "0";
}

/// A heading a bucket, below it a row a policy and plan; the best SQNR of each bucket is bold.
function bucket_ranges(statistics, buckets) {
  const choices = bucket_choices(statistics), rows = [], of_row = [];
  for (const site of buckets.filter((one) => one.policies)) {
    const ranges = choices.map((i) => range_of(statistics, site, i)).filter(Boolean);
    const best = best_sqnr(ranges, 8);
    for (const range of ranges) {
      rows.push([el("span", {}, range_key(range.i), range.name), significant(range.lo),
                 significant(range.hi), coverage(range.clipped), bucket_sqnr(range, best),
                 range.because]);
      of_row.push([range.i, site.name]);
    }
  }
  const out = table([["policy", true], ["lo"], ["hi"], ["coverage"], ["SQNR dB"], ["why", true]],
                    rows, "Ranges, coverage and SQNR of each bucket and policy");
  let last = null;
  [...out.tBodies[0].rows].forEach((row, at) => {
    const [policy, bucket] = of_row[at];
    row.dataset.policy = policy;
    row.dataset.bucket = bucket;
    row.lastChild.classList.add("wrap");
    if (bucket !== last) {
      row.before(el("tr", {class: "group"}, el("th", {class: "text", scope: "rowgroup", colspan: 6},
                                               bucket)));
    }
    last = bucket;
  });
  return out;
}

/// At 8 bits; a plan may have another width, which is then named.
function bucket_sqnr(range, best) {
  if (8 in range.sqnr) return sqnr_cell(range, 8, best);
  const [bits, value] = Object.entries(range.sqnr)[0];
  return decibels(value) + " at " + bits + " bit";
}

/// 99.9987 %: with so many decimals that what is missing to 100 has two digits.
function coverage(clipped) {
  if (typeof clipped !== "number") return dash;
  if (clipped === 0) return "100 %";
  const digits = Math.min(9, Math.max(1, 1 - Math.floor(Math.log10(100 * clipped))));
  return (100 * (1 - clipped)).toFixed(digits) + " %";
}

/// [name, text] of the pictures and texts that were measured.
function bucket_origin(meta) {
  const {pictures} = meta;
  if (!pictures) return [["pictures", "not recorded"]];
  const out = [["pictures", whole(pictures.measured) + " measured of " + whole(pictures.listed)],
               ["unused", whole(pictures.unused)],
               ["corrupt", pictures.corrupt ? warned(pictures.corrupt) : whole(pictures.corrupt)],
               ["text", meta.text.map(text_origin).join("; ") || "not recorded"]];
  const sampling = meta.sampling?.values_per_batch;
  if (sampling) out.push(["sampled", count_of(sampling, "value") + " of each batch"]);
  return out;
}

function text_origin(text) {
  if (text?.source === "random") {
    return "random ids below " + whole(text.vocabulary) + ", " + whole(text.length) +
      " a picture, seed " + text.seed;
  }
  if (text?.source === "file") {
    return "prompts of " + (text.file ?? "?") + ", " + count_of(text.rows, "row");
  }
  return text?.source === "none" ? "none" : "not known";
}
