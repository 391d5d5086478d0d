"use strict";
const specs = JSON.parse(document.getElementById("specs").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function look() {
  const ink = dark.matches ? "#d5d9dc" : "#33383d";
  const line = dark.matches ? "#4a5056" : "#d0d4d8";
  return {
    background: "transparent",
    view: { stroke: null },
    font: "system-ui, sans-serif",
    title: { color: ink, anchor: "start", fontSize: 14 },
    axis: {
      labelColor: ink, titleColor: ink, titleFontWeight: "normal", gridColor: line,
      domainColor: line, tickColor: line, gridOpacity: 0.6, labelOverlap: true,
    },
    legend: { labelColor: ink, titleColor: ink, symbolStrokeWidth: 2 },
    line: { strokeWidth: 2 },
  };
}

function draw() {
  const options = {
    ast: true,
    renderer: "svg",
    config: look(),
    actions: { export: true, source: false, compiled: false, editor: false },
  };
  return Promise.all(Object.entries(specs).map(
    ([id, spec]) => window.vegaEmbed("#" + id, spec, options),
  ));
}

function show() {
  draw().then(
    () => { document.body.dataset.charts = "drawn"; },
    (error) => { document.body.dataset.charts = "failed: " + error; console.error(error); },
  );
}

dark.addEventListener("change", show);
show();
