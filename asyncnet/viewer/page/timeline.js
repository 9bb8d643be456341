// Where in the run the page is: between two rows, whose totals are interpolated. Live it follows the newest row, a little behind.

const LAG = 1.15; // rows

export class Timeline {
  constructor(feed) {
    this.feed = feed;
    this.reset();
  }

  reset() {
    Object.assign(this, { cursor: 0, follows: true, playing: false, speed: 0, at: 0, share: 1 });
  }

  get rows() {
    return this.feed.rows;
  }

  get end() {
    return this.rows.length ? this.rows.at(-1).seconds : 0;
  }

  get begin() {
    return this.rows.length ? this.rows[0].seconds : 0;
  }

  // Whether time goes by on the page.
  get moves() {
    return this.rows.length > 1 && (this.playing || (this.follows && this.cursor < this.end));
  }

  // Seconds of the run in a second of the page.
  get pace() {
    return this.playing ? this.speed || Math.max(1, (this.end - this.begin) / 30) : 1;
  }

  play() {
    if (this.cursor >= this.end) this.cursor = this.begin;
    this.playing = true;
    this.follows = false;
  }

  pause() {
    this.playing = this.follows = false;
  }

  follow() {
    this.playing = false;
    this.follows = true;
    this.cursor = this.end;
  }

  seek(seconds) {
    this.pause();
    this.cursor = Math.min(this.end, Math.max(this.begin, seconds));
  }

  // Be where it was, among other rows of the same run.
  stay() {
    this.cursor = Math.min(this.end, Math.max(this.begin, this.cursor));
    this.locate();
  }

  // The first moment at which so many of something (decisions, episodes) were done.
  when(name, count) {
    const rows = this.rows;
    const next = rows.findIndex((row) => row[name] >= count);
    if (next < 0) return this.end;
    if (next === 0) return this.begin;
    const before = rows[next - 1], after = rows[next];
    return before.seconds + ((after.seconds - before.seconds) * (count - before[name])) / (after[name] - before[name]);
  }

  advance(passed) {
    if (!this.rows.length) return;
    if (this.playing) {
      this.cursor += passed * this.pace;
      if (this.cursor >= this.end) {
        this.cursor = this.end;
        this.playing = false;
        this.follows = true;
      }
    } else if (this.follows) {
      if (!this.feed.running) {
        this.cursor = Math.min(this.end, this.cursor + passed * Math.max(1, 2 * (this.end - this.cursor)));
      } else {
        const behind = this.end - this.cursor;
        const spacing = this.rows.length > 1 ? this.end - this.rows.at(-2).seconds : 0;
        this.cursor = behind > 6 * spacing + 2 ? this.end - spacing : Math.min(this.end, this.cursor + passed * Math.max(0, 1 + (behind - LAG * spacing) / Math.max(spacing, 0.2) / 2));
      }
    }
    this.locate();
  }

  locate() {
    const rows = this.rows;
    let low = 0, high = rows.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (rows[middle].seconds <= this.cursor) low = middle;
      else high = middle - 1;
    }
    this.at = Math.max(0, Math.min(low, rows.length - 2));
    const before = rows[this.at], after = rows[this.at + 1];
    this.share = after ? Math.min(1, Math.max(0, (this.cursor - before.seconds) / Math.max(1e-9, after.seconds - before.seconds))) : 0;
  }

  // One figure at this moment.
  figure(name) {
    const before = this.rows[this.at], after = this.rows[this.at + 1] ?? before;
    return this.share >= 1 ? after[name] : before[name] + (after[name] - before[name]) * this.share;
  }

  // An array of totals at this moment, into `out`.
  totals(name, out) {
    const before = this.rows[this.at][name], after = this.rows[this.at + 1]?.[name] ?? before;
    const share = this.share;
    if (!before || share >= 1) out.set(after ?? out.fill(0));
    else for (let i = 0; i < out.length; i++) out[i] = before[i] + (after[i] - before[i]) * share;
    return out;
  }

  // What was added for each second of the run lately, or in all of it if the page shows its end and stands still; into `out`.
  rates(name, out) {
    const rows = this.rows;
    let first = Math.max(0, this.at - 2), last = Math.min(rows.length - 1, this.at + 1);
    if (!this.moves && this.cursor >= this.end && !this.feed.running) [first, last] = [0, rows.length - 1];
    const before = rows[first][name], after = rows[last][name], seconds = rows[last].seconds - rows[first].seconds;
    if (seconds > 0) for (let i = 0; i < out.length; i++) out[i] = (after[i] - before[i]) / seconds;
    else for (let i = 0; i < out.length; i++) out[i] = after[i];
    return out;
  }
}
