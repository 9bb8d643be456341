// The page: hears of the run, moves through its time, and draws sixty times a second.

import { Curve } from "./curve.js";
import { Feed } from "./feed.js";
import { under } from "./layout.js";
import { Panel, header, nothing } from "./panel.js";
import { Scene } from "./scene.js";
import { readTheme } from "./theme.js";
import { Timeline } from "./timeline.js";
import { Traffic } from "./traffic.js";

const $ = (id) => document.getElementById(id);
const WORDS = 0.2; // seconds between figures, and between drawings of links

readTheme();
const scene = new Scene($("links"), $("nodes"));
const curve = new Curve($("curve"));
const panel = new Panel(scene, () => (stale = true));
const still = matchMedia("(prefers-reduced-motion: reduce)");
let traffic = null, stale = true, told = 0, pointer = null, last = 0, anew = false;

const feed = new Feed((other, same) => {
  if (other) {
    traffic = null;
    scene.show(null);
    if (same && feed.rows.length) timeline.stay(); // whoever looks back goes on doing so
    else {
      timeline.reset();
      anew = true;
    }
  }
  if (feed.team && !traffic) {
    traffic = new Traffic(feed.team);
    scene.show(feed.team);
    panel.begin(feed.team);
  }
  if (anew && feed.rows.length) {
    timeline.follow();
    anew = false;
  }
  header(feed.about);
  nothing(feed);
  curve.take(feed.progress);
  stale = true;
});
const timeline = new Timeline(feed);
const page = (window.asyncnet = {
  feed, timeline, scene,
  frames: 0, busy: 0, // for whoever measures: how many, and milliseconds spent on them
  moving: () => ({ dots: traffic?.dots.length ?? 0, pulse: Math.max(0, ...(traffic?.pulse ?? [])) }),
});

function frame(now) {
  const began = performance.now(), passed = Math.min(0.1, (now - last) / 1000);
  last = now;
  if (traffic && feed.rows.length) {
    const seconds = now / 1000;
    const moved = timeline.moves;
    timeline.advance(passed);
    if (moved && !timeline.moves) stale = true;
    if (stale || (timeline.moves && seconds - told > WORDS)) {
      told = seconds;
      stale = false;
      traffic.weigh(timeline);
      scene.redraw(traffic);
      words();
    }
    traffic.step(timeline, seconds, passed, still.matches);
    scene.frame(traffic, seconds);
  } else if (stale) {
    stale = false;
    curve.draw(null);
    buttons();
  }
  page.frames += 1;
  page.busy += performance.now() - began;
  requestAnimationFrame(frame);
}

function words() {
  panel.show(feed, timeline, traffic);
  curve.draw(timeline.figure(curve.by ?? "decisions"));
  buttons();
  hover();
}

function buttons() {
  const several = feed.rows.length > 1;
  $("play").disabled = $("slider").disabled = !several;
  $("play").toggleAttribute("data-playing", timeline.moves);
  $("play").setAttribute("aria-label", timeline.moves ? "pause" : "play");
  $("live").hidden = !feed.running;
  $("live").setAttribute("aria-pressed", String(timeline.follows && feed.running));
  const span = timeline.end - timeline.begin;
  if (several && document.activeElement !== $("slider")) $("slider").value = span > 0 ? (1000 * (timeline.cursor - timeline.begin)) / span : 1000;
}

function hover() {
  scene.near = pointer && scene.drawn ? under(scene.drawn, ...pointer, scene.shown) : null;
  if (traffic) panel.tip(scene.near, ...(pointer ?? [0, 0]), feed, timeline, traffic);
}

$("play").addEventListener("click", () => {
  if (timeline.moves) timeline.pause();
  else timeline.play();
  stale = true;
});
$("live").addEventListener("click", () => {
  timeline.follow();
  stale = true;
});
$("speed").addEventListener("change", (event) => (timeline.speed = Number(event.target.value)));
$("slider").addEventListener("input", (event) => {
  timeline.seek(timeline.begin + ((timeline.end - timeline.begin) * Number(event.target.value)) / 1000);
  stale = true;
});
$("slider").addEventListener("change", (event) => event.target.blur());
$("curve").addEventListener("pointerdown", (event) => {
  if (!feed.rows.length || !curve.points?.length) return;
  timeline.seek(timeline.when(curve.by, curve.at(event.offsetX)));
  stale = true;
});
$("stage").addEventListener("pointermove", (event) => {
  const box = $("stage").getBoundingClientRect();
  pointer = [event.clientX - box.left, event.clientY - box.top];
  hover();
});
$("stage").addEventListener("pointerleave", () => {
  pointer = null;
  hover();
});
addEventListener("keydown", (event) => {
  if (event.key === " " && !/BUTTON|SELECT/.test(document.activeElement.tagName)) $("play").click();
});
function again() {
  readTheme();
  scene.resize();
  stale = true;
}
new ResizeObserver(again).observe($("stage"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
requestAnimationFrame(frame);
