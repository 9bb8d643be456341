// A worker that draws the network at rest, links and nodes, whenever their figures have changed: however long that takes, the page goes on.

import { CHANNELS, mixed, theme } from "./theme.js";

const FEW = 600; // links: of so many the share lost is the share of red along the link, of more their colour
const PERIOD = 48; // pixels from one such piece to the next
const TOGETHER = 60; // links in a stroke

let canvas = null, pen = null, drawn = null, extent = null;

onmessage = ({ data }) => {
  if (data.canvas) canvas = data.canvas;
  if (data.theme) {
    Object.assign(theme, data.theme);
    ({ drawn, extent } = data);
    canvas.width = extent.width * extent.ratio;
    canvas.height = extent.height * extent.ratio;
    pen = canvas.getContext("2d");
    pen.setTransform(extent.ratio, 0, 0, extent.ratio, 0, 0);
  }
  if (!data.rate) return;
  const began = performance.now();
  if (drawn) draw(data);
  requestAnimationFrame(() => requestAnimationFrame(() => postMessage(performance.now() - began))); // by then it is seen
};

function draw({ rate, lossRate, shown }) {
  pen.clearRect(0, 0, extent.width, extent.height);
  const groups = new Map(), most = Math.max(...rate, 1e-12), few = drawn.links.length <= FEW;
  for (const link of drawn.links) {
    if (!shown.has(link.channel)) continue;
    const own = rate[link.index], lost = own > 0 ? lossRate[link.index] / own : 0;
    const wide = own > 0 ? 1 + Math.round(5 * Math.sqrt(own / most)) : 0, red = Math.round(10 * Math.sqrt(Math.min(1, lost)));
    const key = `${CHANNELS.indexOf(link.channel)} ${red} ${wide}`; // those that look alike
    if (!groups.has(key)) groups.set(key, { channel: link.channel, wide, red, links: [] });
    groups.get(key).links.push(link);
  }
  const crowd = Math.min(1, Math.max(0.16, 9 / Math.sqrt(drawn.links.length)));
  for (const group of [...groups.values()].sort((a, b) => CHANNELS.indexOf(a.channel) - CHANNELS.indexOf(b.channel))) {
    for (let first = 0; first < group.links.length; first += TOGETHER) stroke(group, group.links.slice(first, first + TOGETHER), crowd, few);
  }
  pen.globalAlpha = 1;
  pen.setLineDash([]);
  drawn.nodes.forEach(node);
  drawn.labels.forEach(label);
}

function stroke({ channel, wide, red }, links, crowd, few) {
  pen.strokeStyle = red && !few ? mixed(theme[channel], theme.loss, Math.min(1, red / 6)) : theme[channel];
  pen.globalAlpha = wide ? Math.min(0.9, crowd * (0.55 + 0.06 * red)) : crowd * 0.25;
  pen.lineWidth = wide ? (0.5 + 0.45 * wide) * (0.55 + 0.45 * crowd) : 0.6;
  pen.setLineDash(wide ? [] : [3, 4]);
  pen.beginPath();
  for (const { curve } of links) {
    pen.moveTo(curve[0], curve[1]);
    pen.bezierCurveTo(curve[2], curve[3], curve[4], curve[5], curve[6], curve[7]);
  }
  pen.stroke();
  if (!red || !few) return;
  const share = Math.max(0.04, (red / 10) ** 2);
  pen.setLineDash([PERIOD * share, PERIOD * (1 - share)]);
  pen.strokeStyle = theme.loss;
  pen.lineWidth += 0.8;
  pen.globalAlpha = 0.95;
  pen.stroke();
}

function node({ x, y, r, units, team }) {
  pen.beginPath();
  if (team === "world") pen.roundRect(x - r, y - r * 0.8, 2 * r, 1.6 * r, 7);
  else pen.arc(x, y, r, 0, 2 * Math.PI);
  pen.fillStyle = mixed(theme.paper, theme[team], 0.13);
  pen.fill();
  pen.lineWidth = r > 8 ? 1.8 : 1.2;
  pen.strokeStyle = theme[team];
  pen.stroke();
  if (team === "world" || units < 2 || r < 9) return;
  const seeds = Math.min(units, 180), inner = r - 4.5, size = Math.max(0.8, Math.min(2.2, (0.75 * inner) / Math.sqrt(seeds)));
  pen.fillStyle = theme[team];
  pen.globalAlpha = 0.75;
  for (let i = 0; i < seeds; i++) {
    const away = inner * Math.sqrt((i + 0.5) / seeds), angle = i * 2.399963229728653;
    pen.beginPath();
    pen.arc(x + away * Math.cos(angle), y + away * Math.sin(angle), size, 0, 2 * Math.PI);
    pen.fill();
  }
  pen.globalAlpha = 1;
}

function label({ x, y, name, more, beside }) {
  pen.textAlign = beside ? "left" : "center";
  pen.textBaseline = "alphabetic";
  pen.lineJoin = "round";
  pen.lineWidth = 4;
  pen.strokeStyle = theme.paper;
  for (const [text, font, color, up] of [[name, "600 12.5px", theme.text, more ? 13 : 0], [more, "11.5px", theme.quiet, 0]]) {
    pen.font = `${font} ${theme.font}`;
    pen.strokeText(text, x, y - up);
    pen.fillStyle = color;
    pen.fillText(text, x, y - up);
  }
}
