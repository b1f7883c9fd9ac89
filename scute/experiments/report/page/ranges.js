// Ranges by layer, before and after, of one op: from statistics, an experiment or the checkpoint.

/// What ranges can be shown of: {name, policies or null, rows(policy)}; a row is {layer, op, site,
/// min, max, lo, hi}.
function range_sources() {
  const out = data.statistics.map((one) => ({
    name: "statistics: " + one.name, policies: range_names(one),
    rows: (policy) => one.sites.filter((site) => site.layer !== null && site.policies)
      .map((site) => [site, range_of(one, site, policy)]).filter(([, range]) => range)
      .map(([site, range]) => ({layer: site.layer, op: site.op, site: site.name, min: site.min,
                                max: site.max, lo: range.lo, hi: range.hi})),
  }));
  if (data.checkpoint) out.push(checkpoint_source());
  if (data.log) {
    for (const one of [...data.log.experiments].reverse()) {
      if (one.ranges.length > 0) out.push(experiment_source(one));
    }
  }
  return out;
}

function checkpoint_source() {
  const ranges = data.checkpoint.layers.flatMap((layer) => layer.ranges)
    .filter((range) => range.seen && range.layer >= 0);
  return {name: "checkpoint: " + data.checkpoint.name, policies: null,
          rows: () => ranges.map((range) => ({layer: range.layer, op: range.op, site: range.site,
            min: range.seen[0], max: range.seen[1], lo: range.lo, hi: range.hi}))};
}

function experiment_source(one) {
  return {name: "experiment " + one.number + ": " + (one.config?.model ?? one.id), policies: null,
          rows: () => one.ranges.filter((row) => data.log.layers[row[0]][0] >= 0).map((row) => ({
            layer: data.log.layers[row[0]][0], op: data.log.layers[row[0]][1],
            site: data.log.sites[row[0]], min: row[1], max: row[2], lo: row[3], hi: row[4]}))};
}

function build_ranges() {
  const sources = range_sources();
  if (sources.length === 0) {
    empty("ranges", "No ranges here. Pass --stats FILE, --checkpoint DIR, or --log FILE with " +
          "experiments that recorded their ranges.");
    return;
  }
  const view = {source: sources[0], policy: 0, op: null};
  const source = select("Ranges of", sources.map((one, i) => [String(i), one.name]), (value) => {
    view.source = sources[Number(value)];
    choose_ops();
  });
  const policy = select("Policy", [], (value) => { view.policy = Number(value); draw(); });
  const op = select("Op", [], (value) => { view.op = value; draw(); });
  const drawn = make_chart((colors) => range_chart(view.rows, colors));
  const details = el("div");
  body_of("ranges").append(el("div", {class: "controls"}, source.element, policy.element,
                              op.element), drawn.element, details);

  function choose_ops() {
    const names = view.source.policies || [];
    policy.box.replaceChildren(...names.map((name, i) => el("option", {value: i}, name)));
    policy.element.hidden = names.length < 2;
    view.policy = 0;
    const ops = [...new Set(view.source.rows(0).map((row) => row.op))].sort(natural);
    op.box.replaceChildren(...ops.map((name) => el("option", {value: name}, name)));
    op.element.hidden = false;
    view.op = ops.includes(view.op) ? view.op : ops.find((name) => name.startsWith("x_")) ?? ops[0];
    op.box.value = view.op;
    draw();
  }

  function draw() {
    view.rows = view.source.rows(view.policy).filter((row) => row.op === view.op)
      .sort((a, b) => a.layer - b.layer);
    drawn.draw("Ranges of " + view.op + " by layer: " + view.rows.map((row) => "layer " +
      row.layer + " seen " + significant(row.min, 3) + " to " + significant(row.max, 3) +
      ", kept " + significant(row.lo, 3) + " to " + significant(row.hi, 3)).join("; ") + ".");
    details.replaceChildren(numbers("Numbers of this chart", () => table(
      [["layer"], ["min"], ["max"], ["lo"], ["hi"], ["range reduced by"]],
      view.rows.map((row) => [String(row.layer), significant(row.min), significant(row.max),
        significant(row.lo), significant(row.hi), percent(reduction(row))]), "Ranges by layer")));
  }
  choose_ops();
}

function reduction(row) {
  return row.max > row.min ? 1 - (row.hi - row.lo) / (row.max - row.min) : 0;
}

function range_chart(rows, colors) {
  const options = plain_options("layer", "value");
  options.plugins.tooltip = {callbacks: {label: (item) => item.dataset.label + " " +
    significant(item.raw[0]) + " to " + significant(item.raw[1])}};
  const bars = (label, pick, color, width) => ({
    label, data: rows.map(pick), backgroundColor: color, grouped: false, barPercentage: width,
    categoryPercentage: 0.9, maxBarThickness: 48 * width, borderRadius: 2});
  return {type: "bar", options, data: {labels: rows.map((row) => String(row.layer)), datasets: [
    bars("after (kept)", (row) => [row.lo, row.hi], colors.accent, 0.45),
    bars("before (seen)", (row) => [row.min, row.max], colors.before, 0.9)]}};
}
