// Where nodes stand and how links run: the world at the left, the actor's layers as columns from left to right, the critic's below them.

const SIDE = { left: 86, right: 104, top: 74, bottom: 58 };
const GAP = 54; // between actor and critic
const CLOSE = 15; // pixels between two nodes of a column, at least; else it becomes several

function radius(node, room) {
  const wanted = node.units > 1 ? 10 + 2.3 * Math.sqrt(node.units) : 11;
  return Math.max(3.5, Math.min(wanted, 36, room * 0.4));
}

// The nodes of a layer around x, within a band; returns the middle of the column.
function column(nodes, x, top, height, breadth) {
  const several = Math.max(1, Math.ceil((nodes.length * CLOSE) / height));
  const rows = Math.ceil(nodes.length / several);
  const step = Math.min(height / rows, 72);
  const aside = several > 1 ? Math.min(step * 1.1, breadth / several) : 0;
  nodes.forEach((node, i) => {
    const line = Math.floor(i / rows), row = i % rows;
    const count = Math.min(rows, nodes.length - line * rows);
    node.x = x + (line - (several - 1) / 2) * aside;
    node.y = top + height / 2 + (row - (count - 1) / 2) * step + (several > 1 && line % 2 ? step / 2 : 0);
    node.r = radius(node, several > 1 ? Math.min(step, aside) : node.units > 1 ? height : step);
  });
}

function bands(team, width, height) {
  const tall = Math.max(120, height - SIDE.top - SIDE.bottom);
  const of = (name) => team.layers.map((layer, i) => (layer.team === name ? i : -1)).filter((i) => i >= 0);
  const actor = of("actor"), critic = of("critic");
  const share = critic.length ? 0.5 + 0.12 * Math.sign(actor.length - critic.length) : 1;
  const upper = critic.length ? (tall - GAP) * share : tall;
  return { actor, critic, dopamine: of("dopamine"), top: SIDE.top, upper, below: SIDE.top + upper + GAP, lower: tall - upper - GAP, width: width - SIDE.left - SIDE.right };
}

export function place(team, width, height) {
  const nodes = team.nodes.map((node, index) => ({ ...node, index, team: team.layers[node.layer].team }));
  const byLayer = team.layers.map((_, i) => nodes.filter((node) => node.layer === i));
  const band = bands(team, width, height);
  const labels = [];
  const row = (layers, top, tall) => {
    const step = band.width / layers.length;
    layers.forEach((layer, i) => {
      const x = SIDE.left + (i + 1) * step;
      column(byLayer[layer], x, top, tall, Math.max(24, step * 0.62));
      const nodesHere = byLayer[layer].reduce((sum, node) => sum + node.nodes, 0), units = byLayer[layer].reduce((sum, node) => sum + node.units, 0);
      const highest = Math.min(...byLayer[layer].map((node) => node.y - node.r));
      const label = { name: team.layers[layer].name, more: team.layers[layer].team === "dopamine" ? "" : counted(nodesHere, units) };
      const [only] = byLayer[layer];
      if (i === layers.length - 1 && byLayer[layer].length === 1) labels.push({ ...label, x: only.x + only.r + 9, y: only.y + (label.more ? 11 : 4), beside: true });
      else labels.push({ ...label, x, y: highest - 13 });
    });
  };
  row(band.actor, band.top, band.upper);
  if (band.critic.length) row([...band.critic, ...band.dopamine], band.below, band.lower);
  for (const node of byLayer.flatMap((each, i) => (team.layers[i].team === "world" ? each : []))) {
    node.x = SIDE.left * 0.62;
    node.y = band.critic.length ? band.top + band.upper + GAP / 2 - 8 : band.top + band.upper / 2;
    node.r = 27;
    labels.push({ x: node.x, y: node.y + 4, name: "world", more: "" });
  }
  const extent = { top: Math.min(...nodes.map((node) => node.y - node.r)), bottom: Math.max(...nodes.map((node) => node.y + node.r)) };
  const floor = { actor: band.top + band.upper, critic: extent.bottom };
  const middles = byLayer.map((each) => ({ x: mean(each, "x"), y: mean(each, "y"), r: Math.max(...each.map((node) => node.r)), team: each[0]?.team }));
  const ends = team.by_layer ? middles : nodes;
  const links = team.links.map(([channel, src, dst], index) => ({
    index, src, dst,
    channel: team.channels[channel].name,
    curve: run(team.channels[channel].name, ends[src], ends[dst], extent, floor),
  }));
  for (const link of links) link.box = box(link.curve);
  return { nodes, links, labels };
}

const mean = (nodes, axis) => nodes.reduce((sum, node) => sum + node[axis], 0) / Math.max(1, nodes.length);

function counted(nodes, units) {
  const several = (count, word) => `${count.toLocaleString("en-US")} ${word}${count === 1 ? "" : "s"}`;
  return nodes === units ? several(units, "unit") : nodes === 1 ? several(units, "unit") : `${several(nodes, "node")}, ${several(units, "unit")}`;
}

// A cubic from one node to another, as eight numbers: values go straight on, what comes back bends below it, actions go over the top, rewards under the columns.
function run(channel, p, q, extent, floor) {
  const dx = q.x - p.x, dy = q.y - p.y;
  if (channel === "activity" && dx < -1 && q.team === "world") {
    const high = Math.max(10, extent.top - 46);
    return [p.x, p.y, p.x - dx * -0.12, high - (p.y - high) * 0.18, q.x - dx * 0.12, high - (q.y - high) * 0.18, q.x, q.y];
  }
  if (Math.abs(dx) < 30 && p.team === q.team) {
    const bow = 16 + Math.min(60, Math.abs(dy) * 0.28);
    return [p.x, p.y, p.x + bow, p.y + dy * 0.15, q.x + bow, q.y - dy * 0.15, q.x, q.y];
  }
  if (channel === "activity") return [p.x, p.y, p.x + dx * 0.5, p.y, q.x - dx * 0.5, q.y, q.x, q.y];
  if (channel === "feedback") {
    const sag = 9 + Math.min(22, Math.abs(dx) * 0.07);
    return [p.x, p.y, p.x + dx * 0.4, p.y + sag, q.x - dx * 0.4, q.y + sag, q.x, q.y];
  }
  if (channel === "transition") {
    const low = floor.critic + 40;
    return [p.x, p.y, p.x + dx * 0.1, low + (low - p.y) * 0.25, q.x - dx * 0.15, low + (low - q.y) * 0.15, q.x, q.y];
  }
  const low = (q.team === "critic" ? floor.critic : floor.actor) + 18;
  return [p.x, p.y, p.x + dx * 0.25, low, q.x - dx * 0.1, low, q.x, q.y];
}

export function at(curve, t) {
  const s = 1 - t, a = s * s * s, b = 3 * s * s * t, c = 3 * s * t * t, d = t * t * t;
  return [a * curve[0] + b * curve[2] + c * curve[4] + d * curve[6], a * curve[1] + b * curve[3] + c * curve[5] + d * curve[7]];
}

const within = ([left, top, right, bottom], x, y) => x > left - 6 && x < right + 6 && y > top - 6 && y < bottom + 6;

// A rectangle that holds a curve: that of its four points.
function box(curve) {
  const xs = curve.filter((_, i) => i % 2 === 0), ys = curve.filter((_, i) => i % 2);
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

// Pixels from a point to a curve, taken as sixteen straight pieces.
function distance(curve, x, y) {
  let least = Infinity, [ax, ay] = curve;
  for (let piece = 1; piece <= 16; piece++) {
    const [bx, by] = at(curve, piece / 16);
    const dx = bx - ax, dy = by - ay, along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy || 1), t = Math.min(1, Math.max(0, along));
    least = Math.min(least, Math.hypot(ax + t * dx - x, ay + t * dy - y));
    [ax, ay] = [bx, by];
  }
  return least;
}

// The node under a point, else the nearest link that is shown; null if there is nothing near.
export function under(drawn, x, y, shown) {
  let found = null, least = Infinity;
  for (const node of drawn.nodes) {
    const away = Math.hypot(node.x - x, node.y - y) - node.r;
    if (away < 4 && away < least) [found, least] = [{ node }, away];
  }
  if (found) return found;
  least = 6;
  for (const link of drawn.links) {
    if (!shown.has(link.channel) || !within(link.box, x, y)) continue;
    const away = distance(link.curve, x, y);
    if (away < least) [found, least] = [{ link }, away];
  }
  return found;
}
