"use strict";
(() => {
  const { views, dark, config } = JSON.parse(document.getElementById("charts").textContent);
  const night = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(hover: none), (pointer: coarse), (max-width: 600px)");
  const narrow = matchMedia("(max-width: 600px)");
  const PAPER_WIDTH = 670; // of an A4 or letter page within its margins, in CSS pixels
  let printing = false;

  // Charts are written in the light colours; on a dark screen each is swapped for its counterpart.
  const paint = (value) => {
    if (typeof value === "string") return (night.matches && !printing && dark[value]) || value;
    if (Array.isArray(value)) return value.map(paint);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, paint(inner)]));
  };
  const place = (key) => document.getElementById(`chart-${key}`);
  const chosen = (key) =>
    [...document.querySelectorAll(`select[data-chart="${key}"]`)].map((select) => select.value).join(",");
  const view = (key) => views[key][chosen(key)];

  // Tables that say what one view of a chart shows.
  const choose = (key) =>
    document.querySelectorAll(`[data-of="${key}"]`).forEach((table) => (table.hidden = table.dataset.choice !== chosen(key)));

  const zooms = (key) => document.querySelector(`button[data-chart="${key}"]`) !== null;

  const name = (chart) => {
    chart.querySelectorAll(".main-svg").forEach((svg, index) => {
      svg.setAttribute(index ? "aria-hidden" : "role", index ? "true" : "img");
      if (!index) svg.setAttribute("aria-label", chart.dataset.label);
    });
  };
  const draw = (key) => {
    const chart = place(key);
    const { data, layout } = paint(view(key).figure);
    // A finger's drag must scroll the page; the buttons zoom there.
    if (touch.matches) layout.dragmode = false;
    // A square needs no more height than the phone has width.
    if (narrow.matches && layout.yaxis.scaleanchor) layout.height = chart.clientWidth + 60;
    if (narrow.matches) data.filter((trace) => trace.type === "heatmap").forEach((trace) => (trace.textfont.size = 9));
    chart.style.minHeight = `${layout.height}px`;
    // Plotly keeps what a pointer zoomed, but not what the buttons did.
    if (zooms(key) && chart.layout) layout.xaxis.range = [...chart.layout.xaxis.range];
    if (printing) Object.assign(layout, { width: PAPER_WIDTH, autosize: false });
    chart.querySelector(".undrawn")?.remove();
    return Plotly.react(chart, data, layout, { ...config, displayModeBar: touch.matches ? false : "hover" }).then(() => name(chart));
  };
  const drawAll = () => Object.keys(views).forEach(draw);

  document.querySelectorAll("select[data-chart]").forEach((select) => {
    const key = select.dataset.chart;
    select.addEventListener("change", () => {
      document.getElementById(`caption-${key}`).textContent = view(key).caption;
      choose(key);
      draw(key);
    });
  });

  const STEPS = { in: [0.5, 0], out: [2, 0], earlier: [1, -0.5], later: [1, 0.5] };
  document.querySelectorAll("button[data-zoom]").forEach((button) => {
    const key = button.dataset.chart;
    button.addEventListener("click", () => {
      const [first, last] = view(key).figure.layout.xaxis.range;
      let [low, high] = [first, last];
      if (button.dataset.zoom !== "whole") {
        const [factor, shift] = STEPS[button.dataset.zoom];
        [low, high] = place(key).layout.xaxis.range;
        const width = Math.min((high - low) * factor, last - first);
        const start = (low + high - width) / 2 + shift * (high - low);
        low = Math.max(first, Math.min(start, last - width));
        high = low + width;
      }
      Plotly.relayout(place(key), { "xaxis.range": [low, high] });
    });
  });

  const link = document.getElementById("download");
  const record = document.getElementById("record").textContent;
  link.href = URL.createObjectURL(new Blob([record], { type: "application/json" }));
  link.hidden = false;

  const opened = [];
  addEventListener("beforeprint", () => {
    printing = true;
    document.querySelectorAll("details:not([open]):not([data-long])").forEach((details) => {
      details.open = true;
      opened.push(details);
    });
    drawAll();
  });
  addEventListener("afterprint", () => {
    printing = false;
    opened.splice(0).forEach((details) => (details.open = false));
    drawAll();
  });
  night.addEventListener("change", drawAll);
  touch.addEventListener("change", drawAll);
  narrow.addEventListener("change", drawAll);
  Object.keys(views).forEach(choose);
  drawAll();
})();
