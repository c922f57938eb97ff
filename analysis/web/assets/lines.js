// The lines, on canvases: at once a sample that a frame has time for, then all of them behind the scenes.

const FRAME_MS = { good: 18, bad: 26 };
const BUDGET = { least: 150, most: 4000, first: 700 }; // lines per frame

function opacityOf(count) {
  return Math.min(1, 2 / Math.max(count, 1) ** 0.3);
}

/** One canvas whose picture is replaced as a whole when all of its lines are drawn. */
class Layer {
  constructor(canvas, style) {
    this.canvas = canvas;
    this.style = style; // (context, run) sets the stroke
    this.context = canvas.getContext("2d");
    this.buffer = document.createElement("canvas");
    this.draft = this.buffer.getContext("2d");
    this.runs = [];
    this.next = 0;
    this.stage = "done";
  }

  resize(width, height, ratio) {
    for (const canvas of [this.canvas, this.buffer]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.draft.setTransform(ratio, 0, 0, ratio, 0, 0);
    Object.assign(this.canvas.style, { width: `${width}px`, height: `${height}px` });
  }

  show(runs) {
    this.runs = runs;
    this.next = 0;
    this.stage = "sample";
  }

  clear(context) {
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Draws about `budget` lines of what is still to do. */
  step(budget, path) {
    if (this.stage === "sample") {
      const stride = Math.max(1, Math.ceil(this.runs.length / budget));
      this.clear(this.context);
      const first = (this.runs.length - 1) % stride; // the best is in every sample
      this.stroke(this.context, this.runs.length ? first : 0, this.runs.length, stride, path);
      this.stage = stride === 1 ? "done" : "all";
      this.clear(this.draft);
      return;
    }
    const end = Math.min(this.runs.length, this.next + budget);
    this.stroke(this.draft, this.next, end, 1, path);
    this.next = end;
    if (end < this.runs.length) return;
    this.clear(this.context);
    this.context.save();
    this.context.setTransform(1, 0, 0, 1, 0, 0);
    this.context.globalAlpha = 1;
    this.context.drawImage(this.buffer, 0, 0);
    this.context.restore();
    this.stage = "done";
  }

  stroke(context, from, to, stride, path) {
    context.lineWidth = 1;
    context.globalAlpha = opacityOf(Math.ceil(this.runs.length / stride));
    for (let i = from; i < to; i += stride) {
      this.style(context, this.runs[i]);
      context.beginPath();
      path(context, this.runs[i]);
      context.stroke();
    }
    context.setLineDash([]);
  }
}

/** Draws the layers frame by frame; how many lines a frame gets follows from how long the last ones took. */
class Painter {
  constructor(layers, path) {
    this.layers = layers;
    this.path = path;
    this.budget = BUDGET.first;
    this.before = 0;
    this.isAsked = false;
  }

  ask() {
    if (this.isAsked) return;
    this.isAsked = true;
    requestAnimationFrame((now) => this.frame(now));
  }

  frame(now) {
    this.isAsked = false;
    this.adapt(now - this.before);
    const layer = this.layers.find(({ stage }) => stage === "sample") || this.layers.find(({ stage }) => stage !== "done");
    this.before = now;
    if (!layer) return;
    layer.step(Math.round(this.budget), this.path);
    this.ask();
  }

  adapt(took) {
    if (took > 250) return; // nothing was drawn before
    if (took > FRAME_MS.bad) this.budget = Math.max(BUDGET.least, this.budget * 0.7);
    else if (took < FRAME_MS.good) this.budget = Math.min(BUDGET.most, this.budget * 1.15);
  }
}
