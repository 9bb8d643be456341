// Everything in words and figures: what run it is, how it stands, what its channels carry, and what the pointer is at. Text only, whatever a file holds.

import { clock, duration, percent, short, whole } from "./theme.js";

const $ = (id) => document.getElementById(id);

function said(id, text) {
  const element = $(id);
  if (element.textContent !== text) element.textContent = text;
}

// The rows of a <dl>, kept from one time to the next: [word, text, class].
function list(element, rows) {
  while (element.children.length > 2 * rows.length) element.lastElementChild.remove();
  while (element.children.length < 2 * rows.length) element.append(document.createElement("dt"), document.createElement("dd"));
  rows.forEach(([word, text, kind = ""], i) => {
    const [term, value] = [element.children[2 * i], element.children[2 * i + 1]];
    if (term.textContent !== word) term.textContent = word;
    if (value.textContent !== text) value.textContent = text;
    if (value.className !== kind) value.className = kind;
    value.dataset.name = word;
  });
}

export function header(about) {
  said("name", about.name || "asyncnet watch");
  said("under", about.under?.length ? `under ${about.under.join(", ")}` : "");
  said("question", about.question || "");
  said("path", about.path ? `\u200e${about.path}\u200e` : "");
  const verdict = about.summary?.verdict;
  said("standing", about.standing + (verdict && about.standing === "finished" ? `: ${verdict}` : ""));
  const fine = about.standing.startsWith("running") ? "running" : about.standing === "finished" && verdict !== "fail" ? "finished" : "";
  $("standing").dataset.standing = fine || (/^(dead|failed|cannot|stalled|asyncnet)/.test(about.standing) || verdict === "fail" ? "bad" : "other");
  document.title = about.name ? `${about.name}: ${about.standing}` : "asyncnet watch";
  const trouble = [about.trouble, ...(about.summary?.reasons ?? [])].filter(Boolean).join("\n");
  said("trouble", trouble);
  $("trouble").hidden = !trouble;
}

export function nothing(feed) {
  const { standing, path } = feed.about;
  let text = "";
  if (standing === "connecting") text = "connecting";
  else if (standing === "nothing yet") text = `Nothing to see yet: there is no run at ${path}.\nThis page will show it when it begins.`;
  else if (!feed.team || !feed.rows.length) text = feed.running ? "The run has begun; its nodes will be here when they tick.\n(The first run on a machine compiles for half a minute.)" : "This run has left nothing of its ticks and messages.";
  said("empty", text);
  $("empty").hidden = !text;
}

const channelTotals = (team, row, name) => {
  const totals = team.channels.map(() => 0);
  const column = row(name);
  team.links.forEach(([channel], i) => (totals[channel] += column[i]));
  return totals;
};

export class Panel {
  constructor(scene, changed) {
    this.scene = scene;
    this.changed = changed;
  }

  // The table's rows, for the channels that this team has.
  begin(team) {
    this.cells = [];
    const body = document.querySelector("#channels tbody");
    body.replaceChildren();
    team.channels.forEach((channel, place) => {
      if (!team.links.some(([of]) => of === place)) return;
      const row = body.insertRow();
      const button = document.createElement("button"), mark = document.createElement("i");
      button.type = "button";
      button.title = "show or hide these links";
      button.setAttribute("aria-pressed", String(this.scene.shown.has(channel.name)));
      mark.className = channel.name;
      button.append(mark, channel.name);
      button.addEventListener("click", () => {
        const shown = this.scene.shown;
        if (!shown.delete(channel.name)) shown.add(channel.name);
        button.setAttribute("aria-pressed", String(shown.has(channel.name)));
        this.changed();
      });
      row.insertCell().append(button);
      const [sent, lost, delay] = [row.insertCell(), row.insertCell(), row.insertCell()];
      for (const [cell, name] of [[sent, "sent"], [lost, "lost"]]) Object.assign(cell.dataset, { channel: channel.name, name });
      this.cells.push({ place, sent, lost, delay });
    });
  }

  // The figures at the timeline's moment.
  show(feed, timeline, traffic) {
    const { team, about } = feed;
    const figure = (name) => timeline.figure(name);
    const column = (name) => timeline.totals(name, new Float64Array(team.links.length));
    const sent = channelTotals(team, column, "sent"), lost = channelTotals(team, column, "lost");
    const wire = shownRow(timeline).wire ?? {};
    for (const { place, sent: many, lost: gone, delay } of this.cells) {
      const took = wire[team.channels[place].name];
      for (const [cell, value] of [[many, sent[place]], [gone, lost[place]]]) {
        cell.dataset.value = Math.floor(value);
        cell.textContent = cell === many ? short(value) : lost[place] >= 1 ? percent(value / sent[place]) : "–";
        cell.title = whole(value);
      }
      if (team.channels[place].loss > 0) gone.title += `; by the scenario ${percent(team.channels[place].loss)} of what is sent, each time`;
      gone.className = lost[place] >= 1 ? "lossy" : "";
      delay.textContent = delayed(team.channels[place], took);
      delay.title = took === undefined ? "on average, by the scenario's conditions" : "on average: by the scenario's conditions, and what the wire took";
    }
    const behind = feed.progress.findLast((row) => row.decisions <= figure("decisions"));
    const rows = [["decisions", whole(figure("decisions")), "large"]];
    if (figure("episodes") >= 1) rows.push(["episodes", whole(figure("episodes"))]);
    if (behind) rows.push(["actions on time", percent(behind.on_time ?? 0)]);
    rows.push([about.time === "wall" ? "the run's time" : "simulated time", `${(figure("now") / 1e6).toFixed(1)} s`]);
    const before = timeline.rows[timeline.at], after = timeline.rows[timeline.at + 1], ended = about.summary && timeline.cursor >= timeline.end;
    if (ended && about.summary.decisions_per_second) rows.push(["decisions a second", whole(about.summary.decisions_per_second)]);
    else if (after) rows.push(["decisions a second", whole((after.decisions - before.decisions) / Math.max(1e-9, after.seconds - before.seconds))]);
    rows.push(["nodes", whole(team.nodes.reduce((total, node) => total + node.nodes, 0))], ["engine", about.engine ?? ""], ["seed", about.seed ?? ""]);
    if (ended) rows.push(["digest", String(about.summary.digest ?? "").slice(0, 16)]);
    list($("figures"), rows);
    said("scale", timeline.rows.length > 1 ? `a pulse: ${plural(traffic.perPulse, "tick")}, of the world ${plural(traffic.perPulse, "decision")} · a dot: ${plural(traffic.perDot, "message")}` : "");
    said("clock", `${clock(timeline.cursor)} of ${clock(timeline.end)}`);
  }

  // What the pointer is at.
  tip(near, x, y, feed, timeline, traffic) {
    const tip = $("tip");
    tip.hidden = !near || !timeline.rows.length;
    if (tip.hidden) return;
    const { team } = feed;
    const byNode = (name) => timeline.totals(name, new Float64Array(team.nodes.length))[near.node?.index ?? 0];
    const byLink = (name) => timeline.totals(name, new Float64Array(team.links.length))[near.link?.index ?? 0];
    let title, rows;
    if (near.node) {
      const node = near.node, period = node.period;
      title = node.name;
      rows = [["units", whole(node.units)]];
      if (node.team !== "world") rows.push(["ticks", whole(byNode("ticks"))], ["ticks a second", short(traffic.tickRate[node.index])], ["samples learned from", whole(byNode("learned"))]);
      if (node.team !== "world") rows.push(["a tick", period ? `every ${duration(period)}` : "when it hears"]);
    } else {
      const { link } = near, ends = team.by_layer ? team.layers : team.nodes, [channel] = team.links[link.index];
      const [sent, lost, delivered] = [byLink("sent"), byLink("lost"), byLink("delivered")];
      const row = shownRow(timeline);
      const way = row.in_flight ? row.in_flight[link.index] : sent - lost - delivered; // the last row has all the books
      title = `${link.channel}: ${ends[link.src].name} → ${ends[link.dst].name}`;
      rows = [["sent", whole(sent)], ["delivered", whole(delivered)], ["lost", `${whole(lost)}${sent >= 1 ? ` (${percent(lost / sent)})` : ""}`]];
      rows.push(["on their way", whole(Math.max(0, way))], ["a second", short(traffic.rate[link.index])], ["delay", delayed(team.channels[channel], row.wire?.[team.channels[channel].name])]);
    }
    if (!tip.firstChild) tip.append(document.createElement("b"), document.createElement("dl"));
    tip.firstChild.textContent = title;
    list(tip.lastChild, rows);
    const stage = $("stage");
    tip.style.left = `${Math.min(x + 16, stage.clientWidth - tip.offsetWidth - 8)}px`;
    tip.style.top = `${Math.max(8, Math.min(y + 16, stage.clientHeight - tip.offsetHeight - 8))}px`;
  }
}

// The row whose totals are shown, or that before them.
const shownRow = (timeline) => timeline.rows[Math.min(timeline.rows.length - 1, timeline.at + (timeline.share >= 1 ? 1 : 0))];

// How long a message of a channel takes; after a run on Ray also what the wire took.
const delayed = (channel, took) => duration(channel.delay) + (took === undefined ? "" : ` + ${duration(took)}`);

const plural = (count, word) => `${count.toLocaleString("en-US")} ${word}${count === 1 ? "" : "s"}`;
