// Sites: one distribution at a time, with the range of every policy.

const sites_view = {statistics: 0, site: null, log2: false, hidden: new Set(), show: null};

function statistics_choices() {
  return data.statistics.map((one, i) => [String(i), one.name]);
}

function build_sites() {
  if (data.statistics.length === 0) {
    empty("sites", "No statistics here. Pass --stats FILE, a file that scute collect wrote, to " +
          "see the distribution of every site.");
    return;
  }
  const pick = select("Statistics", statistics_choices(), (value) => {
    sites_view.statistics = Number(value);
    list_sites();
    show_site(data.statistics[sites_view.statistics].sites[0]);
  });
  const search = el("input", {type: "search", id: "site-search", placeholder: "x_proj, layer_3, …",
                              oninput: () => list_sites()});
  const list = el("select", {size: 18, id: "site-list", "aria-label": "Site",
                             onchange: () => show_site(site_named(list.value))});
  const found = el("p", {class: "muted", "aria-live": "polite"});
  const main = el("div", {class: "main"});
  const axis = axis_choice();
  const drawn = make_chart((colors) => distribution_chart(colors), true);
  Object.assign(sites_view, {pick, search, list, found, main, axis, drawn});
  body_of("sites").append(el("div", {class: "split"},
    el("div", {class: "side"}, pick.element,
       el("label", {}, el("span", {}, "Find a site"), search), list, found), main));
  list_sites();
  show_site(data.statistics[0].sites[0]);
  let width = list.clientWidth;
  new ResizeObserver(() => {
    if (list.clientWidth === width) return;
    width = list.clientWidth;
    shorten_names();
  }).observe(list);
}

function axis_choice() {
  const radio = (log2, text) => el("label", {},
    el("input", {type: "radio", name: "axis", checked: !log2,
                 onchange: () => { sites_view.log2 = log2; draw_site(); }}), text);
  return el("fieldset", {}, el("legend", {}, "Horizontal axis"), radio(false, "value"),
            radio(true, "|value|, powers of two"));
}

function site_named(name) {
  return data.statistics[sites_view.statistics].sites.find((site) => site.name === name);
}

function list_sites() {
  const words = sites_view.search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const sites = data.statistics[sites_view.statistics].sites;
  const fit = sites.filter((site) => words.every((w) => site.name.toLowerCase().includes(w)));
  sites_view.list.replaceChildren(...fit.map((site) =>
    el("option", {value: site.name, title: site.name}, site.name)));
  shorten_names();
  sites_view.list.value = sites_view.site ? sites_view.site.name : "";
  sites_view.found.textContent = fit.length === sites.length ? count_of(sites.length, "site")
    : whole(fit.length) + " of " + count_of(sites.length, "site");
}

/// Names that the list has no room for lose their middle. The whole name is the option's title and
/// its value, and the heading when it is chosen.
function shorten_names() {
  const {list} = sites_view;
  const style = getComputedStyle(list);
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = style.fontSize + " " + style.fontFamily;
  // An option's padding is 0.4 rem at each side (report.css); a scroll bar is 15 pixels wide.
  const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
  const room = list.clientWidth - 2 * parseFloat(style.paddingLeft) - 0.8 * rem - 15;
  const most = Math.max(16, Math.floor(room / pen.measureText("m").width));
  for (const option of list.options) {
    const text = middle_cut(option.value, most);
    if (option.text !== text) option.textContent = text;
  }
}

/// Opens a site from elsewhere on the page.
function open_site(statistics, site) {
  sites_view.statistics = statistics;
  sites_view.pick.box.value = String(statistics);
  sites_view.search.value = "";
  sites_view.site = site;
  list_sites();
  show_site(site);
  document.getElementById("sites").scrollIntoView();
  sites_view.list.focus({preventScroll: true});
}

function show_site(site) {
  if (!site) return;
  sites_view.site = site;
  sites_view.list.value = site.name;
  const {main} = sites_view;
  main.replaceChildren(el("h3", {class: "site"}, site.name), site_figures(site));
  if (!site.linear) {
    main.append(el("p", {class: "empty"}, "No finite value passed here."));
    return;
  }
  main.append(el("div", {class: "controls"}, sites_view.axis), sites_view.drawn.element,
              policy_table(site), el("p", {class: "muted small"},
                "Ranges are those for 8 bits; each SQNR is of the range that the policy picks at " +
                "that width. auto: " + site.because + "."),
              ...plan_notes(site), bins_table());
  draw_site();
}

function site_figures(site) {
  const pairs = [["values", whole(site.count)], ["min", significant(site.min)],
                 ["max", significant(site.max)], ["mean", significant(site.mean, 3)],
                 ["std", significant(site.std, 3)],
                 ["zeros", percent(site.count ? site.zeros / site.count : 0)]];
  if (site.nans) pairs.push(["NaN", el("span", {class: "warn"}, whole(site.nans))]);
  if (site.infs) pairs.push(["infinite", el("span", {class: "warn"}, whole(site.infs))]);
  return figures(pairs);
}

/// Names of all ranges that can be drawn: the policies, then the plans.
function range_names(statistics) {
  return [...statistics.policies, ...data.plans.map((plan) => "plan: " + plan.name)];
}

/// The i-th range of a site, {i, name, lo, hi, clipped, sqnr: {bits: dB}, because}; null for a plan
/// that does not name the site. Reasons of policies are known for buckets alone.
function range_of(statistics, site, i) {
  const name = range_names(statistics)[i];
  if (i < statistics.policies.length) {
    const [lo, hi, clipped, ...sqnr] = site.policies[i];
    return {i, name, lo, hi, clipped, sqnr: {4: sqnr[0], 8: sqnr[1], 16: sqnr[2]},
            because: site.bucket?.because[i]};
  }
  const row = site.plans?.[i - statistics.policies.length];
  if (!row) return null;
  const [lo, hi, clipped, sqnr, bits, because] = row;
  return {i, name, lo, hi, clipped, sqnr: {[bits]: sqnr}, because};
}

function ranges_of_site(statistics, site) {
  return range_names(statistics).map((_, i) => range_of(statistics, site, i)).filter(Boolean);
}

function shown_ranges() {
  return ranges_of_site(data.statistics[sites_view.statistics], sites_view.site);
}

/// Decibels at so many bits, bold among the best; a plan has one width.
function sqnr_cell(range, bits, best) {
  if (!(bits in range.sqnr)) return dash;
  const text = decibels(range.sqnr[bits]);
  return (range.sqnr[bits] ?? Infinity) >= best - 0.05 ? el("b", {}, text) : text;
}

function best_sqnr(ranges, bits) {
  return Math.max(...ranges.filter((range) => bits in range.sqnr)
    .map((range) => range.sqnr[bits] ?? Infinity));
}

function range_key(i) {
  return el("span", {class: "key k" + Math.min(i, 7)});
}

function policy_table(site) {
  const ranges = shown_ranges();
  const rows = ranges.map((range) => {
    const {i} = range;
    const box = el("input", {type: "checkbox", checked: !sites_view.hidden.has(i), onchange: () => {
      if (box.checked) sites_view.hidden.delete(i); else sites_view.hidden.add(i);
      draw_site();
    }});
    return [el("label", {}, box, range_key(i), range.name), significant(range.lo),
            significant(range.hi), percent(range.clipped),
            ...[4, 8, 16].map((bits) => sqnr_cell(range, bits, best_sqnr(ranges, bits)))];
  });
  const out = table([["policy", true], ["lo"], ["hi"], ["clipped"], ["SQNR 4 bit"], ["8 bit"],
                     ["16 bit, dB"]], rows, "What each policy keeps of " + site.name);
  return scroll_box("Policies", out);
}

/// What the plans say of a site; nothing without plans.
function plan_notes(site) {
  const statistics = data.statistics[sites_view.statistics];
  return data.plans.map((plan, k) => {
    const range = range_of(statistics, site, statistics.policies.length + k);
    return el("p", {class: "muted small"}, "plan: " + plan.name + ": " + (range
      ? range.because + ", " + Object.keys(range.sqnr)[0] + " bits." : "does not name this site."));
  });
}

/// The bins as [from, to, count], on the axis that is shown.
function shown_bins() {
  const site = sites_view.site;
  if (sites_view.log2) {
    const [first, step, , counts] = site.log2;
    return counts.map((count, i) => [first + i * step, first + (i + 1) * step, count]);
  }
  return linear_bins_of(site);
}

function linear_bins_of(site) {
  const [lo, hi, counts] = site.linear;
  if (counts.length === 1) {
    const room = Math.max(Math.abs(lo) / 50, 1e-6);
    return [[lo - room, hi + room, counts[0]]];
  }
  const width = (hi - lo) / counts.length;
  return counts.map((count, i) => [lo + i * width, lo + (i + 1) * width, count]);
}

function bins_table() {
  return numbers("Numbers of this chart", () => {
    const show = (x) => sites_view.log2 ? "2^" + significant(x, 4) : significant(x);
    return table([["from"], ["to"], ["values"]], shown_bins().filter((bin) => bin[2] > 0)
      .map((bin) => [show(bin[0]), show(bin[1]), whole(bin[2])]), "Values by bin");
  });
}

/// The brackets above the plot.
function policy_rows(colors) {
  const log2 = (x) => Math.log2(Math.abs(x));
  return shown_ranges().map(({i, name, lo, hi}) => {
    const ends = sites_view.log2 ? [lo, hi].filter((x) => x !== 0).map(log2) : [lo, hi];
    return {i, name, ...range_style(colors, i), strong: i === 0,
            from: sites_view.log2 ? -Infinity : lo, to: Math.max(...ends), ends, lo, hi};
  }).filter((row) => !sites_view.hidden.has(row.i));
}

function distribution_chart(colors) {
  const bins = shown_bins();
  const outline = bins.flatMap(([from, to, count]) =>
    [from, to].map((x) => ({x, y: Math.max(count, 0.5), count, from, to})));
  const rows = policy_rows(colors);
  const options = plain_options(sites_view.log2 ? "|value|" : "value", "values per bin");
  options.layout = {padding: {top: rows.length * row_height + 6, right: 8}};
  options.interaction = {mode: "nearest", axis: "x", intersect: false};
  options.plugins = {legend: {display: false}, tooltip: {displayColors: false, callbacks: {
    title: () => "", label: (item) => bin_text(item.raw)}}};
  options.scales.x = {type: "linear", min: outline[0]?.x, max: outline[outline.length - 1]?.x,
                      title: options.scales.x.title, grid: {display: false},
                      ticks: {maxRotation: 0, callback: (value) =>
                        sites_view.log2 ? power_of_two(value) : significant(value, 3)}};
  options.scales.y = count_axis("values per bin");
  return {type: "line", options, plugins: [range_rows(rows)], data: {datasets: [{
    data: outline, fill: "start", backgroundColor: colors.fill, borderColor: colors.fill_line,
    borderWidth: 1, pointRadius: 0, pointHitRadius: 12, tension: 0}]}};
}

function power_of_two(value) {
  if (!Number.isInteger(value)) return null;
  return value >= -6 && value <= 10 ? significant(2 ** value, 3) : "2^" + value;
}

function bin_text(raw) {
  const show = (x) => sites_view.log2 ? "2^" + significant(x, 4) : significant(x);
  return show(raw.from) + " to " + show(raw.to) + ": " + count_of(raw.count, "value");
}

function draw_site() {
  const site = sites_view.site;
  if (!site || !site.linear) return;
  const shown = policy_rows(theme()).map((row) => row.name + " " + significant(row.lo) + " to " +
    significant(row.hi)).join("; ");
  sites_view.drawn.draw("Distribution of " + site.name + ": " + count_of(site.count, "value") +
    " from " + significant(site.min) + " to " + significant(site.max) + ". Kept by " + shown + ".");
  const old = sites_view.main.querySelector("details");
  if (old) {
    const open = old.open;
    const fresh = bins_table();
    old.replaceWith(fresh);
    fresh.open = open;
  }
}
