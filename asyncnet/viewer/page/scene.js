// The network on two canvases: links and nodes at rest below, drawn anew when figures have changed, a little in each frame; pulses and messages above, in every frame.

import { at, place } from "./layout.js";
import { mixed, theme } from "./theme.js";

const BUDGET = 2.5; // milliseconds of a frame for drawing links anew
const CHANNELS = ["reward", "transition", "feedback", "activity"];

function fitted(canvas) {
  const ratio = Math.min(2, window.devicePixelRatio || 1);
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return { context, width, height, ratio };
}

function glow(color, core) {
  const sprite = new OffscreenCanvas(64, 64), context = sprite.getContext("2d");
  const gradient = context.createRadialGradient(32, 32, 0, 32, 32, 32);
  gradient.addColorStop(0, color);
  gradient.addColorStop(core, color);
  gradient.addColorStop(1, `${color}00`);
  context.fillStyle = gradient;
  context.fillRect(0, 0, 64, 64);
  return sprite;
}

export class Scene {
  constructor(below, above) {
    this.canvas = { below, above };
    this.shown = new Set(CHANNELS);
    this.drawn = null;
    this.work = null;
    this.near = null; // the node or link under the pointer
  }

  show(team) {
    this.team = team;
    this.resize();
  }

  resize() {
    this.below = fitted(this.canvas.below);
    this.above = fitted(this.canvas.above);
    const { width, height, ratio } = this.below;
    this.drawn = this.team && width > 60 ? place(this.team, width, height) : null;
    this.aside = new OffscreenCanvas(Math.max(1, this.canvas.below.width), Math.max(1, this.canvas.below.height));
    this.pen = this.aside.getContext("2d");
    this.pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.sprites = Object.fromEntries(["world", "actor", "critic", "dopamine", ...CHANNELS, "loss"].map((name) => [name, [glow(theme[name], 0.05), glow(theme[name], 0.45)]]));
    this.work = null;
  }

  // Begin to draw the links anew, from these rates: those that look alike in one stroke.
  redraw(traffic) {
    if (!this.drawn) return;
    this.due = this.work ? traffic : null; // what is under way is finished first
    if (this.work) return;
    const groups = new Map();
    const most = Math.max(...traffic.rate, 1e-12);
    for (const link of this.drawn.links) {
      if (!this.shown.has(link.channel)) continue;
      const rate = traffic.rate[link.index], lost = rate > 0 ? traffic.lossRate[link.index] / rate : 0;
      const wide = rate > 0 ? 1 + Math.round(5 * Math.sqrt(rate / most)) : 0, red = Math.round(10 * Math.sqrt(Math.min(1, lost)));
      const key = `${CHANNELS.indexOf(link.channel)} ${red} ${wide}`;
      if (!groups.has(key)) groups.set(key, { channel: link.channel, wide, red, links: [] });
      groups.get(key).links.push(link);
    }
    const crowd = Math.min(1, Math.max(0.16, 9 / Math.sqrt(this.drawn.links.length)));
    this.pen.clearRect(0, 0, this.below.width, this.below.height);
    this.work = this.strokes([...groups.values()].sort((a, b) => CHANNELS.indexOf(a.channel) - CHANNELS.indexOf(b.channel)), crowd);
  }

  *strokes(groups, crowd) {
    const pen = this.pen;
    for (const { channel, wide, red, links } of groups) {
      for (let first = 0; first < links.length; first += 60) {
        pen.strokeStyle = red ? mixed(theme[channel], theme.loss, Math.min(1, red / 6)) : theme[channel];
        pen.globalAlpha = wide ? Math.min(0.9, crowd * (0.55 + 0.06 * red)) : crowd * 0.25;
        pen.lineWidth = wide ? (0.5 + 0.45 * wide) * (0.55 + 0.45 * crowd) : 0.6;
        pen.setLineDash(wide ? [] : [3, 4]);
        pen.beginPath();
        for (const { curve } of links.slice(first, first + 60)) {
          pen.moveTo(curve[0], curve[1]);
          pen.bezierCurveTo(curve[2], curve[3], curve[4], curve[5], curve[6], curve[7]);
        }
        pen.stroke();
        yield;
      }
    }
    pen.globalAlpha = 1;
    pen.setLineDash([]);
    for (const node of this.drawn.nodes) {
      this.node(pen, node);
      if (node.index % 20 === 19) yield;
    }
    this.labels(pen);
  }

  node(pen, { x, y, r, units, team }) {
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

  labels(pen) {
    pen.textAlign = "center";
    pen.textBaseline = "alphabetic";
    pen.lineJoin = "round";
    pen.lineWidth = 4;
    pen.strokeStyle = theme.paper;
    for (const { x, y, name, more } of this.drawn.labels) {
      for (const [text, font, color, up] of [[name, "600 12.5px", theme.text, more ? 13 : 0], [more, "11.5px", theme.quiet, 0]]) {
        pen.font = `${font} ${theme.font}`;
        pen.strokeText(text, x, y - up);
        pen.fillStyle = color;
        pen.fillText(text, x, y - up);
      }
    }
  }

  // Go on with what `redraw` has begun; it is seen when all of it is there.
  settle() {
    if (!this.work) return;
    const until = performance.now() + BUDGET;
    while (performance.now() < until) {
      if (this.work.next().done) {
        this.work = null;
        const { context } = this.below;
        context.save();
        context.setTransform(1, 0, 0, 1, 0, 0);
        context.clearRect(0, 0, this.aside.width, this.aside.height);
        context.drawImage(this.aside, 0, 0);
        context.restore();
        if (this.due) this.redraw(this.due);
        return;
      }
    }
  }

  frame(traffic, now) {
    const { context: pen, width, height } = this.above;
    pen.clearRect(0, 0, width, height);
    if (!this.drawn) return;
    if (this.near) this.lit(pen);
    for (const node of this.drawn.nodes) {
      const pulse = traffic.pulse[node.index];
      if (pulse < 0.02) continue;
      const reach = node.r * (1.5 + 0.5 * (1 - pulse)) + 6;
      pen.globalAlpha = pulse * theme.glow;
      pen.drawImage(this.sprites[node.team][0], node.x - reach, node.y - reach, 2 * reach, 2 * reach);
      const core = node.r * 0.92;
      pen.globalAlpha = pulse * 0.6 * theme.glow;
      pen.drawImage(this.sprites[node.team][1], node.x - core, node.y - core, 2 * core, 2 * core);
    }
    for (const dot of traffic.dots) {
      const { channel, curve } = this.drawn.links[dot.link], t = (now - dot.begins) / dot.takes;
      if (t < 0 || !this.shown.has(channel)) continue;
      if (dot.lost && t > 0.75) continue;
      const [x, y] = at(curve, t), size = dot.lost && t > 0.45 ? 5 + 14 * (t - 0.45) : 4.2;
      pen.globalAlpha = dot.lost && t > 0.45 ? 1 - (t - 0.45) / 0.3 : Math.min(1, 8 * t, 8 * (1 - t));
      pen.drawImage(this.sprites[dot.lost && t > 0.4 ? "loss" : channel][1], x - size, y - size, 2 * size, 2 * size);
    }
    pen.globalAlpha = 1;
  }

  // What the pointer is at, and the links of a node.
  lit(pen) {
    const { node, link } = this.near;
    const place = node && (this.team.by_layer ? node.layer : node.index);
    const several = link ? [link] : this.drawn.links.filter((each) => this.shown.has(each.channel) && (each.src === place || each.dst === place));
    pen.lineWidth = 1.6;
    pen.globalAlpha = 0.9;
    for (const channel of CHANNELS) {
      pen.strokeStyle = theme[channel];
      pen.beginPath();
      for (const { curve, channel: own } of several) {
        if (own !== channel) continue;
        pen.moveTo(curve[0], curve[1]);
        pen.bezierCurveTo(curve[2], curve[3], curve[4], curve[5], curve[6], curve[7]);
      }
      pen.stroke();
    }
    if (node) {
      pen.lineWidth = 3;
      pen.strokeStyle = theme.text;
      pen.beginPath();
      pen.arc(node.x, node.y, node.r + 4, 0, 2 * Math.PI);
      pen.stroke();
    }
    pen.globalAlpha = 1;
  }
}
