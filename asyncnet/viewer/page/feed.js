// What the server knows of the run, asked for again and again: it sends what has come since.

const EVERY = 500; // milliseconds

const COLUMNS = ["ticks", "learned", "sent", "delivered", "lost", "duplicated", "refused", "expired", "in_flight"];

export class Feed {
  constructor(heard) {
    this.heard = heard; // called after each answer: whether all of it is new, and whether it is of the same run even so
    this.reset("");
    this.about = { standing: "connecting" };
    this.ask();
  }

  reset(generation) {
    Object.assign(this, { generation, team: null, rows: [], progress: [] });
  }

  get running() {
    return this.about.standing.startsWith("running");
  }

  async ask() {
    try {
      const query = new URLSearchParams({ generation: this.generation, rows: this.rows.length, progress: this.progress.length });
      const answer = await fetch(`state?${query}`, { cache: "no-store" });
      if (!answer.ok) throw new Error(answer.statusText);
      this.take(await answer.json());
    } catch (error) {
      this.about = { ...this.about, standing: "asyncnet watch has ended" };
      this.heard(false);
    }
    setTimeout(() => this.ask(), document.hidden ? 4 * EVERY : EVERY);
  }

  take(answer) {
    const other = answer.generation !== this.generation;
    const same = answer.about.path === this.about.path; // its file was thinned
    if (other) this.reset(answer.generation);
    this.about = answer.about;
    if (answer.team) {
      const { channel, src, dst } = answer.team.links;
      this.team = { ...answer.team, links: channel.map((of, i) => [of, src[i], dst[i]]) };
    }
    for (const row of answer.rows) {
      for (const name of COLUMNS) if (row[name]) row[name] = Float64Array.from(row[name]);
      this.team.nodes.forEach((node, i) => {
        if (this.team.layers[node.layer].team === "world") row.ticks[i] = row.decisions; // it has no clock: its pulse is a decision
      });
      this.rows.push(row);
    }
    this.progress.push(...answer.progress);
    this.heard(other, same);
  }
}
