// Charts: Chart.js with the page's colours, drawn again when the theme changes.

const charts = [];

/// The policies' lines: colour and dash, so that no two need colour alone to be told apart.
const dashes = [[], [2, 3], [8, 4], [8, 3, 2, 3], [4, 4], [12, 4], [1, 4]];

/// Colour and dash of the i-th range; plans, after the policies, are drawn in ink.
function range_style(colors, i) {
  return {color: colors.series[i] ?? colors.ink, dash: dashes[i] ?? [10, 3]};
}

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue("--" + name).trim();
  return {
    ink: color("ink"), muted: color("muted"), line: color("line"), card: color("card"),
    accent: color("accent"), before: color("before"), fill: color("fill"),
    fill_line: color("fill-line"),
    series: [0, 1, 2, 3, 4, 5, 6].map((i) => color("c" + i)),
  };
}

Chart.defaults.animation = false;
Chart.defaults.maintainAspectRatio = false;
Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
Chart.defaults.font.size = 12;

/// A chart that `make(colors)` describes; draw() makes it anew. `label` is what a screen reader
/// hears in its place.
function make_chart(make, tall) {
  const canvas = el("canvas", {role: "img"});
  const out = {
    element: el("div", {class: tall ? "chart tall" : "chart"}, canvas),
    chart: null,
    draw(label) {
      if (label !== undefined) canvas.setAttribute("aria-label", label);
      if (out.chart) out.chart.destroy();
      const colors = theme();
      Chart.defaults.color = colors.muted;
      Chart.defaults.borderColor = colors.line;
      out.chart = new Chart(canvas, make(colors));
    },
  };
  charts.push(out);
  return out;
}

/// Ends charts whose elements leave the page: {drawn} each.
function forget_charts(gone) {
  for (const {drawn} of gone) {
    if (drawn.chart) drawn.chart.destroy();
    charts.splice(charts.indexOf(drawn), 1);
  }
}

function redraw_all() {
  for (const one of charts) if (one.chart) one.draw();
}

/// At most so many letters: the middle gives way. "vision.siglip.blocks.10.attn.proj:input" needs 8
/// letters of its beginning and 20 of its end to be told from all others.
function middle_cut(text, most) {
  const letters = [...text];
  if (letters.length <= most) return text;
  const head = Math.floor(0.3 * most);
  return letters.slice(0, head).join("") + "…" +
    letters.slice(letters.length - (most - 1 - head)).join("");
}

/// On a telephone's screen names are short and axes have no titles.
function is_narrow(chart) {
  return chart.width < 520;
}

/// Axis of powers of ten with few labels: 1, 10, 100, 1k, …; wide enough for the names of rows.
function count_axis(title) {
  return {
    type: "logarithmic", min: 0.5,
    title: {display: (context) => !is_narrow(context.chart), text: title},
    afterFit: (scale) => {
      scale.width = Math.max(scale.width, is_narrow(scale.chart) ? 76 : 126);
    },
    ticks: {callback: (value) => short_power(value)},
  };
}

function short_power(value) {
  const power = Math.round(Math.log10(value));
  if (Math.abs(value / 10 ** power - 1) > 1e-9) return null;
  if (power < 0) return null;
  const units = ["", "k", "M", "G", "T", "P"];
  return 10 ** (power % 3) + units[Math.floor(power / 3)];
}

function plain_options(x_title, y_title) {
  return {
    interaction: {mode: "index", intersect: false},
    plugins: {legend: {align: "end", labels: {boxWidth: 18, boxHeight: 10}}},
    scales: {
      x: {title: {display: true, text: x_title}, grid: {display: false}},
      y: {title: {display: true, text: y_title}},
    },
  };
}

/// Rows of brackets above the plot, one a range, with its name at the left and thin lines down
/// through the plot: labels never overlap however close the ranges are.
const row_height = 17;
function range_rows(rows) {
  return {
    id: "range_rows",
    afterDatasetsDraw(chart) {
      const {ctx, chartArea: area, scales: {x}} = chart;
      const at = (value) => Math.min(area.right, Math.max(area.left, x.getPixelForValue(value)));
      ctx.save();
      ctx.textAlign = "right";
      ctx.textBaseline = "middle";
      rows.forEach((row, i) => {
        const y = area.top - row_height * (rows.length - i) + row_height / 2 - 4;
        ctx.strokeStyle = ctx.fillStyle = row.color;
        ctx.fillText(is_narrow(chart) ? row.name.split(":")[0] : middle_cut(row.name, 18),
                     area.left - 8, y);
        ctx.setLineDash(row.dash);
        ctx.lineWidth = row.strong ? 3 : 2;
        line(ctx, at(row.from), y, at(row.to), y);
        ctx.globalAlpha = row.strong ? 0.95 : 0.55;
        ctx.lineWidth = row.strong ? 1.75 : 1.1;
        for (const end of row.ends) line(ctx, at(end), y, at(end), area.bottom);
        ctx.globalAlpha = 1;
      });
      ctx.restore();
    },
  };
}

function line(ctx, x0, y0, x1, y1) {
  ctx.beginPath();
  ctx.moveTo(x0, y0);
  ctx.lineTo(x1, y1);
  ctx.stroke();
}
