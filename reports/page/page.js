"use strict";
(() => {
  let views, dark, config;
  const night = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(hover: none), (pointer: coarse), (max-width: 600px)");
  const narrow = matchMedia("(max-width: 600px)");
  const PAPER_WIDTH = 670; // of an A4 or letter page within its margins, in CSS pixels
  let printing = false;

  // What the page holds packed (`pack` of reports/page/html.py): plotly.js, the charts and the record.
  const LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%,()*+-;.=:?@^_`{|}~";
  const DIGITS = Uint8Array.from({ length: 128 }, (_, code) => Math.max(0, LETTERS.indexOf(String.fromCharCode(code))));
  const packed = (id) => {
    const text = document.getElementById(id).textContent;
    const missing = (5 - (text.length % 5)) % 5; // of the last five letters, which stand for four bytes
    const words = new DataView(new ArrayBuffer(((text.length + missing) / 5) * 4));
    for (let place = 0, word = 0; place < text.length + missing; place++) {
      word = word * 85 + (place < text.length ? DIGITS[text.charCodeAt(place)] : 84);
      if (place % 5 < 4) continue;
      words.setUint32(((place - 4) / 5) * 4, word);
      word = 0;
    }
    return new Blob([words.buffer.slice(0, words.byteLength - missing)]);
  };
  const unpacked = (id) => new Response(packed(id).stream().pipeThrough(new DecompressionStream("gzip")));

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

  const draw = (key) => {
    const chart = place(key);
    const { data, layout } = paint(view(key).figure);
    // A finger's drag must scroll the page; the buttons zoom there.
    if (touch.matches) layout.dragmode = false;
    // A square needs no more height than the phone has width.
    if (narrow.matches && layout.yaxis.scaleanchor) layout.height = chart.clientWidth + 60;
    if (narrow.matches) data.filter((trace) => trace.type === "heatmap").forEach((trace) => (trace.textfont.size = 9));
    if (narrow.matches && !printing && layout.meta) {
      layout.yaxis.ticktext = layout.meta.narrow.ticktext;
      layout.height = layout.meta.narrow.height;
    }
    chart.style.minHeight = `${layout.height}px`;
    // Plotly keeps what a pointer zoomed, but not what the buttons did.
    if (zooms(key) && chart.layout) layout.xaxis.range = [...chart.layout.xaxis.range];
    if (printing) Object.assign(layout, { width: PAPER_WIDTH, autosize: false });
    const drawn = Plotly.react(chart, data, layout, { ...config, displayModeBar: touch.matches ? false : "hover" });
    // A screen reader reads the chart's name, caption and table, and not its hundred marks.
    return drawn.then(() => chart.querySelector(".plot-container").setAttribute("aria-hidden", "true"));
  };
  const drawAll = () => views && Object.keys(views).forEach(draw);

  document.querySelectorAll("select[data-chart]").forEach((select) => {
    const key = select.dataset.chart;
    select.addEventListener("change", () => {
      choose(key);
      if (!views) return;
      document.getElementById(`caption-${key}`).textContent = view(key).caption;
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

  const offer = (record, ending = "") => {
    const link = document.getElementById("download");
    link.download += ending;
    link.href = URL.createObjectURL(record);
    link.hidden = false;
  };

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
  new Set([...document.querySelectorAll("[data-of]")].map((table) => table.dataset.of)).forEach(choose);

  const begin = async () => {
    const script = document.createElement("script");
    script.textContent = await unpacked("plotly").text(); // its hash is in the page's policy
    document.head.append(script);
    ({ views, dark, config } = await unpacked("charts").json());
    for (const key of Object.keys(views)) {
      await draw(key);
      await new Promise((resume) => setTimeout(resume)); // the page stays at hand meanwhile
    }
    // plotly.js measures texts in a picture of its own, which is not for a screen reader.
    document.getElementById("js-plotly-tester")?.setAttribute("aria-hidden", "true");
    offer(await unpacked("record").blob());
    document.documentElement.dataset.ready = "charts";
  };
  const goWithout = () => {
    document.getElementById("uncharted").hidden = false;
    document.querySelectorAll(".chart").forEach((chart) => (chart.hidden = true));
    offer(packed("record"), ".gz");
    document.documentElement.dataset.ready = "text";
  };
  if ("DecompressionStream" in window) begin();
  else goWithout();
})();
