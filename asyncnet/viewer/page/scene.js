// The network on two canvases: links and nodes at rest below, drawn by a worker (rest.js) when figures have changed; pulses and messages above, in every frame.

import { at, place } from "./layout.js";
import { CHANNELS, theme } from "./theme.js";

const IDLE = 5; // times what a drawing has taken, until the next

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
    this.canvas = above;
    this.shown = new Set(CHANNELS);
    this.drawn = null;
    this.near = null; // the node or link under the pointer
    this.rests = 0; // drawings that were finished
    this.worker = new Worker("rest.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.rested(data);
    const canvas = below.transferControlToOffscreen();
    this.worker.postMessage({ canvas }, [canvas]);
  }

  show(team) {
    this.team = team;
    this.resize();
  }

  resize() {
    this.above = fitted(this.canvas);
    const { width, height, ratio } = this.above;
    this.drawn = this.team && width > 60 ? place(this.team, width, height) : null;
    this.sprites = Object.fromEntries(["world", "actor", "critic", "dopamine", ...CHANNELS, "loss"].map((name) => [name, [glow(theme[name], 0.05), glow(theme[name], 0.45)]]));
    this.worker.postMessage({ theme: { ...theme }, drawn: this.drawn, extent: { width, height, ratio } });
  }

  // Have links and nodes at rest drawn anew, from these rates: by a worker, which is given no more to do than leaves it idle most of the time.
  redraw(traffic) {
    this.due = this.busy ? traffic : null;
    if (this.busy || !this.drawn) return;
    this.busy = true;
    this.worker.postMessage({ rate: traffic.rate.slice(), lossRate: traffic.lossRate.slice(), shown: this.shown });
  }

  rested(took) {
    this.rests += 1;
    setTimeout(() => {
      this.busy = false;
      if (this.due) this.redraw(this.due);
    }, IDLE * took);
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
