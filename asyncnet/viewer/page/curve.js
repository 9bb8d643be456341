// The learning curve, and on it the moment that the page shows.

import { round125, theme, whole } from "./theme.js";

const KINDS = [["mean_return", "return, mean of the last 100 episodes"], ["mean_squared_error", "mean squared error lately"], ["mean_reward", "reward lately"]];
const SIDE = { left: 58, right: 30, top: 20, bottom: 20 };

export class Curve {
  constructor(canvas) {
    this.canvas = canvas;
  }

  // What is drawn: which figure by what, its points, and how far the run is to go.
  take(progress) {
    const [kind, title] = KINDS.find(([name]) => progress.some((row) => typeof row[name] === "number")) ?? [null, ""];
    const by = kind === "mean_return" ? "episodes" : "decisions";
    this.points = kind ? progress.filter((row) => typeof row[kind] === "number").map((row) => [row[by] ?? 0, row[kind]]) : [];
    const last = progress.at(-1);
    const goal = last?.done > 0 ? Math.round((last[by] ?? 0) / last.done) : 0;
    Object.assign(this, { kind, title, by, goal: Math.max(goal, this.points.at(-1)?.[0] ?? 1, 1) });
  }

  x(value) {
    return SIDE.left + ((this.width - SIDE.left - SIDE.right) * value) / this.goal;
  }

  // How many decisions or episodes stand under a pixel.
  at(pixel) {
    return (Math.min(1, Math.max(0, (pixel - SIDE.left) / (this.width - SIDE.left - SIDE.right))) * this.goal);
  }

  draw(cursor) {
    const canvas = this.canvas, ratio = Math.min(2, window.devicePixelRatio || 1);
    const width = (this.width = canvas.clientWidth), height = canvas.clientHeight, pen = canvas.getContext("2d");
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    if (!this.points?.length) return;
    const values = this.points.map(([, value]) => value);
    let low = Math.min(...values), high = Math.max(...values);
    if (high - low < 1e-9) [low, high] = [low - 0.5, high + 0.5];
    const step = round125((high - low) / 4);
    low = step * Math.floor(low / step + 1e-9);
    high = step * Math.ceil(high / step - 1e-9);
    const bottom = height - SIDE.bottom, y = (value) => bottom - ((bottom - SIDE.top) * (value - low)) / (high - low);
    this.axes(pen, low, high, step, y, width, bottom);
    this.line(pen, y, bottom, cursor);
  }

  axes(pen, low, high, step, y, width, bottom) {
    pen.font = `11.5px ${theme.font}`;
    pen.textBaseline = "middle";
    pen.lineWidth = 1;
    const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    for (let value = low; value <= high + step / 2; value += step) {
      pen.strokeStyle = theme.edge;
      pen.beginPath();
      pen.moveTo(SIDE.left, y(value));
      pen.lineTo(width - SIDE.right, y(value));
      pen.stroke();
      pen.fillStyle = theme.quiet;
      pen.textAlign = "right";
      pen.fillText(value.toFixed(digits), SIDE.left - 8, y(value));
    }
    const across = round125(this.goal / 6);
    pen.textAlign = "center";
    for (let value = 0; value <= this.goal * 1.0001; value += across) pen.fillText(whole(value), this.x(value), bottom + 12);
    pen.textAlign = "left";
    pen.fillText(`${this.title}, by ${this.by}`, SIDE.left, 8);
  }

  line(pen, y, bottom, cursor) {
    const path = new Path2D(), area = new Path2D();
    this.points.forEach(([x, value], i) => path[i ? "lineTo" : "moveTo"](this.x(x), y(value)));
    area.addPath(path);
    area.lineTo(this.x(this.points.at(-1)[0]), bottom);
    area.lineTo(this.x(this.points[0][0]), bottom);
    pen.strokeStyle = pen.fillStyle = theme.activity;
    pen.lineWidth = 2;
    pen.lineJoin = "round";
    pen.globalAlpha = 0.35; // what is still to come
    pen.stroke(path);
    pen.save();
    pen.beginPath();
    pen.rect(0, 0, cursor === null ? this.width : this.x(cursor) + 1, bottom + SIDE.bottom);
    pen.clip();
    pen.globalAlpha = 1;
    pen.stroke(path);
    pen.globalAlpha = 0.12;
    pen.fill(area);
    pen.restore();
    pen.globalAlpha = 1;
    if (cursor === null) return;
    const x = Math.min(this.x(cursor), this.x(this.goal));
    pen.strokeStyle = theme.quiet;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.moveTo(x, SIDE.top - 4);
    pen.lineTo(x, bottom);
    pen.stroke();
    const shown = this.points.findLast(([at]) => at <= cursor + 1e-9) ?? this.points[0];
    pen.fillStyle = theme.activity;
    pen.beginPath();
    pen.arc(x, y(shown[1]), 4, 0, 2 * Math.PI);
    pen.fill();
    pen.fillStyle = theme.text;
    pen.textAlign = x > this.width - 90 ? "right" : "left";
    pen.fillText(Number(shown[1].toPrecision(4)).toString(), x + (x > this.width - 90 ? -9 : 9), Math.max(SIDE.top + 2, y(shown[1]) - 11));
  }
}
