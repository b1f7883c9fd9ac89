// Puts the page together.

function build_header() {
  const parts = [];
  if (data.statistics.length) parts.push(count_of(data.statistics.length, "statistics file"));
  if (data.plans.length) parts.push(count_of(data.plans.length, "plan"));
  if (data.log) parts.push(count_of(data.log.experiments.length, "experiment"));
  if (data.checkpoint) parts.push("1 checkpoint");
  document.getElementById("summary").textContent = parts.join(", ") + " · " + data.tool;
  const facts = document.getElementById("facts");
  const fact = (name, ...value) => facts.append(el("div", {}, el("dt", {}, name),
                                                   el("dd", {}, ...value)));
  for (const one of data.statistics) fact("Statistics " + one.name, ...origin_of(one.meta));
  for (const one of data.plans) fact("Plan " + one.name, count_of(one.sites, "range"));
  if (data.log) fact("Log " + data.log.file, models_of(data.log.experiments));
  if (data.checkpoint) fact("Checkpoint " + data.checkpoint.name, ...origin_of(data.checkpoint));
}

/// Model, hash and amount of data, as far as they are known.
function origin_of(meta) {
  const out = [String(meta?.model ?? "model not recorded")];
  if (meta?.model_sha256) out.push(" ", el("code", {}, String(meta.model_sha256).slice(0, 12)));
  if (meta?.pictures) return [...out, ...pictures_of(meta)];
  if (typeof meta?.tokens === "number") {
    out.push(" · " + count_of(meta.samples, "sample") + ", " + whole(meta.tokens) + " tokens");
  }
  if (Array.isArray(meta?.data)) {
    for (const one of meta.data.slice(0, 3)) {
      out.push(" of " + String(one?.file ?? "?") + " ",
               el("code", {}, String(one?.sha256 ?? "").slice(0, 12)));
    }
  }
  return out;
}

/// How much was measured; the pictures' names, which may be many, on demand.
function pictures_of(meta) {
  const amount = " · " + count_of(meta.samples, "picture") + ", " +
    count_of(meta.tokens, "text token");
  if (meta.data.length === 0) return [amount];
  const more = meta.files - meta.data.length;
  return [amount, el("details", {class: "files"},
    el("summary", {}, count_of(meta.files, "picture file")),
    scroll_box("Picture files", el("ul", {}, ...meta.data.map((one) => el("li", {},
      String(one?.file ?? "?") + " ", el("code", {}, String(one?.sha256 ?? "").slice(0, 12)))),
      more > 0 ? el("li", {}, "and " + whole(more) + " more") : null), true))];
}

function models_of(experiments) {
  const models = [...new Set(experiments.map((one) => String(setting(one, "model") ?? "?")))];
  const more = models.length > 4 ? " and " + (models.length - 4) + " more" : "";
  return models.slice(0, 4).join(", ") + more;
}

function build_theme() {
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  const apply = (dark) => {
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
    redraw_all();
  };
  const current = () => chosen ?? system.matches;
  button.addEventListener("click", () => {
    chosen = !current();
    apply(chosen);
  });
  system.addEventListener("change", () => apply(current()));
  // Paper is white, and charts must be drawn for its width.
  addEventListener("beforeprint", () => { if (current()) apply(false); });
  addEventListener("afterprint", () => apply(current()));
  apply(current());
}

/// Marks the section that is being read in the navigation.
function follow_reading() {
  const links = new Map([...document.querySelectorAll("#nav a")].map((link) =>
    [link.getAttribute("href").slice(1), link]));
  const seen = new Map();
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) seen.set(entry.target.id, entry.isIntersecting);
    const first = [...links.keys()].find((id) => seen.get(id));
    for (const [id, link] of links) {
      if (id === first) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }, {rootMargin: "-80px 0px -60% 0px"});
  for (const id of links.keys()) observer.observe(document.getElementById(id));
}

build_theme();
build_header();
build_buckets();
build_sites();
build_ranges();
build_heat();
build_layers();
build_experiments();
build_reorder();
build_checkpoint();
follow_reading();
