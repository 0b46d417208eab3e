/** Runs a task repeatedly while the page is visible, one run at a time. */
export class Poller {
  /**
   * @param {() => Promise<void>} task Never rejects.
   * @param {() => number} delay Returns the milliseconds until the next run; called after each run.
   */
  constructor(task, delay) {
    this.task = task;
    this.delay = delay;
    this.active = false;
    this.running = false;
    this.again = false;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.timer = undefined;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && this.active) this.now();
    });
  }

  start() {
    this.active = true;
    this.now();
  }

  stop() {
    this.active = false;
    clearTimeout(this.timer);
  }

  /** Run immediately, or after the current run, which may have read outdated data. */
  async now() {
    clearTimeout(this.timer);
    this.again = this.running;
    if (this.running) return;
    this.running = true;
    do {
      this.again = false;
      await this.task();
    } while (this.again && this.active);
    this.running = false;
    clearTimeout(this.timer);
    if (this.active && !document.hidden) this.timer = setTimeout(() => this.now(), this.delay());
  }
}
