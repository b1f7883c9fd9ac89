// Sensitivity by layer, predicted and measured; the effect of reordering.

function build_layers() {
  const body = body_of("layers");
  const search = data.checkpoint?.search;
  if (data.statistics.some((one) => one.sensitivity.length > 0)) body.append(predicted());
  else if (!search) {
    empty("layers", "Nothing to predict from. Pass --stats FILE for the prediction; a " +
          "--checkpoint that scute quantize --search wrote holds measured figures.");
  }
  if (search?.layers?.length > 0) body.append(measured(search));
}

function predicted() {
  const view = {statistics: 0, bits: 3};
  const statistics = select("Statistics", statistics_choices(), (value) => {
    view.statistics = Number(value);
    draw();
  });
  const bits = select("Bits", [["2", "4"], ["3", "8"], ["4", "16"]], (value) => {
    view.bits = Number(value);
    draw();
  });
  bits.box.value = "3";
  const drawn = make_chart((colors) => {
    const options = plain_options("layer", "noise / signal, summed");
    options.plugins.legend.display = false;
    options.plugins.tooltip = {callbacks: {label: (item) => significant(item.raw, 3)}};
    options.scales.y.ticks = {callback: (value) => significant(value, 3)};
    return {type: "bar", options, data: {labels: view.rows.map((row) => String(row[0])), datasets: [
      {data: view.rows.map((row) => row[view.bits]), backgroundColor: colors.accent,
       maxBarThickness: 42, borderRadius: 2}]}};
  });
  const details = el("div");
  function draw() {
    view.rows = data.statistics[view.statistics].sensitivity;
    drawn.draw("Predicted noise over signal by layer: " + view.rows.map((row) => "layer " + row[0] +
      " " + significant(row[view.bits], 3)).join("; ") + ".");
    details.replaceChildren(numbers("Numbers of this chart", () => table(
      [["layer"], ["inputs"], ["4 bits"], ["8 bits"], ["16 bits"]],
      view.rows.map((row) => [String(row[0]), whole(row[1]), ...row.slice(2).map((x) =>
        significant(x, 3))]), "Predicted noise over signal")));
  }
  draw();
  return el("div", {}, el("h3", {}, "Predicted from statistics"),
            el("div", {class: "controls"}, statistics.element, bits.element), drawn.element,
            details);
}

function measured(search) {
  const formats = Object.keys(search.layers[0]).filter((key) => key !== "chosen");
  const drawable = formats.filter((name) => search.layers.some((row) => row[name] > 0));
  const drawn = make_chart((colors) => {
    const options = plain_options("layer", "divergence, nats per token");
    options.scales.y.type = "logarithmic";
    options.scales.y.ticks = {callback: (x) =>
      Number.isInteger(Math.log10(x)) ? significant(x, 2) : null};
    options.plugins.tooltip = {callbacks: {label: (item) => item.dataset.label + " " +
      significant(item.raw, 3)}};
    options.plugins.legend.labels = {usePointStyle: true, boxWidth: 7, boxHeight: 7};
    return {type: "line", options, data: {labels: search.layers.map((_, i) => String(i)),
      datasets: drawable.map((name, i) => ({label: name, borderWidth: 2, tension: 0,
        data: search.layers.map((row) => row[name] > 0 ? row[name] : null),
        borderDash: dashes[i % 7], borderColor: colors.series[i % 7],
        backgroundColor: colors.series[i % 7],
        pointStyle: ["circle", "triangle", "rect", "star"][i % 4], pointRadius: 5}))}};
  });
  const box = el("div", {}, el("h3", {}, "Measured by the search"),
    el("p", {class: "muted"}, "How far the float model’s predictions move when this layer alone " +
       "is rounded to a format. Chosen: " + significant(search.average_bits, 3) +
       " bits a weight on average, divergence " + significant(search.divergence, 3) +
       (search.standard_error > 0 ? " ± " + significant(search.standard_error, 2) : "") +
       " nats per token."), drawn.element,
    numbers("Numbers of this chart", () => table(
      [["layer"], ["chosen", true], ...formats.map((name) => [name])],
      search.layers.map((row, i) => [String(i), String(row.chosen),
        ...formats.map((name) => significant(row[name], 3))]), "Measured divergence")));
  queueMicrotask(() => drawn.draw("Measured divergence by layer and format: " + search.layers.map(
    (row, i) => "layer " + i + " " + formats.map((name) => name + " " +
      significant(row[name], 2)).join(", ")).join("; ") + "."));
  return box;
}

function build_reorder() {
  const found = (data.log?.experiments ?? []).filter((one) => one.reorder).reverse();
  if (found.length === 0) {
    empty("reorder", data.log ? "No experiment of this log reordered channels. Run one with " +
          "--group-heads to see what that does to the ranges."
          : "No experiments here. Pass --log FILE; those run with --group-heads are shown.");
    return;
  }
  const view = {one: found[0], op: null};
  const pick = select("Experiment", found.map((one, i) => [String(i), one.number + ": " +
    (one.config?.model ?? one.id)]), (value) => { view.one = found[Number(value)]; choose_op(); });
  pick.element.hidden = false;
  const op = select("Op", [], (value) => { view.op = value; draw(); });
  const drawn = make_chart((colors) => {
    const options = plain_options("layer", "range");
    const bars = (label, k, color) => ({label, data: view.rows.map((row) => row[k]),
                                        backgroundColor: color, maxBarThickness: 30,
                                        borderRadius: 2});
    return {type: "bar", options, data: {labels: view.rows.map((row) => layer_name(row[0])),
      datasets: [bars("before", 1, colors.before), bars("after", 2, colors.accent)]}};
  });
  const summary = el("p", {}), details = el("div");
  body_of("reorder").append(el("div", {class: "controls"}, pick.element, op.element), summary,
                            drawn.element, details);
  const op_of = (row) => data.log.layers[row[0]][1];
  function choose_op() {
    const ops = [...new Set(view.one.reorder.sites.map(op_of))].sort(natural);
    op.box.replaceChildren(...ops.map((name) => el("option", {value: name}, name)));
    op.element.hidden = false;
    op.box.value = view.op = ops.includes(view.op) ? view.op : ops[0];
    draw();
  }
  function draw() {
    const {sites, average} = view.one.reorder;
    view.rows = sites.filter((row) => op_of(row) === view.op).map((row) =>
      [data.log.layers[row[0]][0], ...row.slice(1)]).sort((a, b) => a[0] - b[0]);
    summary.textContent = "Ranges reduced by " + significant(average, 3) + " % on average over " +
      count_of(sites.length, "site") + " of experiment " + view.one.number + ".";
    drawn.draw("Ranges of " + view.op + " before and after reordering: " + view.rows.map((row) =>
      "layer " + layer_name(row[0]) + " " + significant(row[1], 3) + " to " +
      significant(row[2], 3)).join("; ") + ".");
    details.replaceChildren(numbers("Numbers of this chart", () => table(
      [["layer"], ["before"], ["after"], ["reduced by"]],
      view.rows.map((row) => [layer_name(row[0]), significant(row[1]), significant(row[2]),
        significant(row[3], 3) + " %"]), "Effect of reordering")));
  }
  choose_op();
}
