// What moves: a node's pulse for so many of its ticks, a dot for so many messages of a link. Both are counted off the totals, so no tick or message is made up.

import { round125 } from "./theme.js";

const PULSES = 2.5; // of the fastest node in a second
const DOTS = 140; // of all links in a second
const MOST = 600; // dots at a time
const QUICK = 0.5, SLOW = 1.8; // seconds of a dot's way, without delay and with the longest there is
const GOLDEN = 0.6180339887498949; // keeps those of equal rate apart

const sum = (numbers) => numbers.reduce((total, number) => total + number, 0);

export class Traffic {
  constructor(team) {
    const nodes = team.nodes.length, links = team.links.length;
    this.team = team;
    this.ticks = new Float64Array(nodes);
    this.sent = new Float64Array(links);
    this.lost = new Float64Array(links);
    this.pulse = new Float32Array(nodes);
    this.tickRate = new Float64Array(nodes);
    this.rate = new Float64Array(links);
    this.lossRate = new Float64Array(links);
    this.counted = { ticks: new Float64Array(nodes), sent: new Float64Array(links), lost: new Float64Array(links) };
    this.dots = [];
    this.perPulse = this.perDot = 1;
    const longest = Math.max(...team.channels.map((channel) => channel.delay), 1e-9);
    this.way = team.channels.map((channel) => QUICK + ((SLOW - QUICK) * channel.delay) / longest);
    this.fresh = true;
  }

  // Rates and what stands for how many, at this moment.
  weigh(timeline) {
    timeline.rates("ticks", this.tickRate);
    timeline.rates("sent", this.rate);
    timeline.rates("lost", this.lossRate);
    const pace = timeline.pace;
    const perPulse = round125(Math.max(1, (pace * Math.max(...this.tickRate)) / PULSES));
    const perDot = round125(Math.max(1, (pace * sum(this.rate)) / DOTS));
    if (perPulse !== this.perPulse || perDot !== this.perDot) this.fresh = true;
    Object.assign(this, { perPulse, perDot });
  }

  // A step of the page's time: totals at the cursor, and what has come due since the last.
  step(timeline, now, passed, still) {
    timeline.totals("ticks", this.ticks);
    timeline.totals("sent", this.sent);
    timeline.totals("lost", this.lost);
    const fade = Math.exp(-passed / 0.16);
    for (let i = 0; i < this.pulse.length; i++) {
      const count = Math.floor(this.ticks[i] / this.perPulse + (this.perPulse > 1 ? (i * GOLDEN) % 1 : 0));
      this.pulse[i] = count > this.counted.ticks[i] && !this.fresh ? 1 : this.pulse[i] * fade;
      this.counted.ticks[i] = count;
    }
    for (let i = 0; i < this.sent.length; i++) {
      const phase = this.perDot > 1 ? (i * GOLDEN) % 1 : 0;
      const sent = Math.floor(this.sent[i] / this.perDot + phase), lost = Math.floor(this.lost[i] / this.perDot + phase);
      const due = Math.min(3, sent - this.counted.sent[i]);
      if (due > 0 && !this.fresh && !still) {
        const gone = lost - this.counted.lost[i];
        for (let k = 0; k < due && this.dots.length < MOST; k++) {
          this.dots.push({ link: i, begins: now + (k * 0.25) / due, takes: this.way[this.team.links[i][0]], lost: k < gone });
        }
      }
      this.counted.sent[i] = sent;
      this.counted.lost[i] = lost;
    }
    this.fresh = false;
    this.dots = this.dots.filter((dot) => now < dot.begins + dot.takes);
  }
}
