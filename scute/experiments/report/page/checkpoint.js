// The checkpoint's scales: where they act, what they keep, who chose them.

function build_checkpoint() {
  const {checkpoint} = data;
  if (!checkpoint) {
    empty("checkpoint", "No checkpoint here. Pass --checkpoint DIR, a folder that scute quantize " +
          "wrote, to see its scales.");
    return;
  }
  const layers = checkpoint.layers;
  const ranges = layers.flatMap((layer) => layer.ranges.map((range) => ({...range, of: layer.name,
                                                                         format: layer.format})));
  const search = el("input", {type: "search", id: "checkpoint-filter", oninput: () => list(),
                              placeholder: "x_proj, mse, edited, …"});
  const found = el("p", {class: "muted note", "aria-live": "polite"});
  const shown = el("div");
  const box = scroll_box("Ranges of the checkpoint", shown, true);
  body_of("checkpoint").append(
    figures([["model", checkpoint.name], ["family", checkpoint.family],
             ["formats", formats_of(layers)], ["ranges", whole(ranges.length)],
             ["edits by hand", checkpoint.edits
               ? el("span", {class: "tag"}, whole(checkpoint.edits)) : "none"]]),
    el("div", {class: "controls"}, el("label", {}, el("span", {}, "Find"), search), found), box,
    numbers("Every tensor of scales", () => scales_table(layers)),
    ...checkpoint.notes.map((note) => el("p", {class: "muted"}, note)));

  function list() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fit = ranges.filter((range) => words.every((word) =>
      (range.site + " " + range.policy + (range.edited ? " edited" : "")).toLowerCase()
        .includes(word)));
    found.textContent = whole(fit.length) + " of " + count_of(ranges.length, "range");
    shown.replaceChildren(range_table(fit));
  }
  list();
}

function formats_of(layers) {
  const counts = new Map();
  for (const layer of layers) {
    if (/^\d+$/.test(layer.name) || (layer.format && layer.name !== "head")) counts.set(layer.format, (counts.get(layer.format) ?? 0) + 1);
  }
  return [...counts].map(([name, n]) => n + " × " + (name || "not recorded")).join(", ");
}

function range_table(ranges) {
  const rows = ranges.map((range) => [
    range.of, range.site || "not known",
    range.seen ? significant(range.seen[0]) + " to " + significant(range.seen[1]) : dash,
    significant(range.lo) + " to " + significant(range.hi), percent(range.clipped),
    range.sqnr === null ? dash : decibels(range.sqnr), where_from(range)]);
  const out = table([["layer"], ["site", true], ["seen"], ["kept"], ["clipped"], ["SQNR dB"],
                     ["where it comes from", true]], rows, "Ranges of the checkpoint");
  ranges.forEach((range, i) => {
    out.tBodies[0].rows[i].classList.toggle("edited", range.edited);
    out.tBodies[0].rows[i].lastChild.classList.add("wrap");
  });
  return out;
}

function where_from(range) {
  const named = range.because.startsWith(range.policy);  // "mse gives …" needs no "mse: "
  const parts = [named ? "" : range.policy, range.because, range.remark].filter(Boolean);
  const text = parts.length === 0 ? "no plan beside the model" : parts.join(": ");
  return el("span", {}, range.edited ? el("span", {class: "tag"}, "edited") : "",
            range.edited ? " " : "", text);
}

function scales_table(layers) {
  const rows = layers.flatMap((layer) => layer.scales.map(([tensor, step, , shape, low, high]) =>
    [layer.name, tensor, step, shape,
     low === high ? significant(low) : significant(low) + " to " + significant(high)]));
  return table([["layer"], ["tensor", true], ["acts", true], ["shape", true], ["scale"]], rows,
               "Scales");
}
