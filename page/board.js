// The sheet to draw on: Gradio gives `element`, `trigger` and `watch` (gr.HTML). After each stroke, and for an uploaded
// file, the event `input` carries the picture as a data URL; what comes back are the boxes of the digits found in it.
const canvas = element.querySelector("canvas");
const context = canvas.getContext("2d");
const paper = element.querySelector(".paper");
const hint = element.querySelector(".hint");
const boxes = element.querySelector(".boxes");
const problem = element.querySelector(".problem");
const file = element.querySelector("input[type=file]");
const undo = element.querySelector(".undo");
const clear = element.querySelector(".clear");
const SIZES = { digit: [560, 560], row: [1120, 480] };
const PEN = { digit: 40, row: 30 }; // pixels of the canvas; a stroke of MNIST is 1/9 to 1/5 as wide as the digit is high

let kind = "digit";
let strokes = [];
let stroke = null;
let uploaded = null; // the file's data URL, instead of strokes

function draw() {
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.strokeStyle = context.fillStyle = "black";
  context.lineCap = context.lineJoin = "round";
  context.lineWidth = PEN[kind];
  for (const points of strokes) {
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    if (points.length === 1) context.lineTo(points[0][0] + 0.1, points[0][1]);
    context.stroke();
  }
  refresh();
}

function refresh() {
  hint.hidden = strokes.length > 0 || uploaded !== null;
  hint.textContent = hint.dataset[kind];
  canvas.setAttribute("aria-label", hint.textContent);
  undo.disabled = strokes.length === 0;
  clear.disabled = strokes.length === 0 && uploaded === null;
}

function reset() {
  strokes = [];
  uploaded = null;
  boxes.replaceChildren();
  problem.hidden = true;
  paper.style.backgroundImage = "";
  draw();
}

function read() {
  boxes.replaceChildren();
  problem.hidden = true; // it was about something that is no longer there
  const empty = strokes.length === 0 && uploaded === null;
  trigger("input", { picture: empty ? "" : (uploaded ?? canvas.toDataURL("image/png")), kind });
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) * canvas.width) / box.width,
    ((event.clientY - box.top) * canvas.height) / box.height,
  ];
}

canvas.addEventListener("pointerdown", (event) => {
  if (stroke || event.button > 0) return; // a second finger, another button
  event.preventDefault();
  if (uploaded) reset();
  problem.hidden = true;
  canvas.setPointerCapture(event.pointerId);
  stroke = { pointer: event.pointerId, points: [place(event)] };
  strokes.push(stroke.points);
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  if (stroke?.pointer !== event.pointerId) return;
  const passed = event.getCoalescedEvents?.() ?? [];
  stroke.points.push(...(passed.length ? passed : [event]).map(place));
  draw();
});
for (const end of ["pointerup", "pointercancel"])
  canvas.addEventListener(end, (event) => {
    if (stroke?.pointer !== event.pointerId) return;
    stroke = null;
    read();
  });

undo.addEventListener("click", () => {
  strokes.pop();
  draw();
  read();
});
clear.addEventListener("click", () => {
  reset();
  read();
});
for (const button of element.querySelectorAll("[data-kind]"))
  button.addEventListener("click", () => {
    if (kind === button.dataset.kind) return;
    kind = button.dataset.kind;
    for (const each of element.querySelectorAll("[data-kind]")) each.setAttribute("aria-pressed", each === button);
    element.querySelector(".board").classList.toggle("of-row", kind === "row");
    [canvas.width, canvas.height] = SIZES[kind];
    const kept = uploaded;
    reset();
    if (kept) show(kept);
    read();
  });

function show(url) {
  uploaded = url;
  const picture = new Image();
  picture.onload = () => {
    const scale = Math.min(canvas.width / picture.width, canvas.height / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    context.imageSmoothingEnabled = scale < 2;
    context.drawImage(picture, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  };
  picture.src = url; // what the browser cannot show (TIFF, for one) is read all the same
  refresh();
}

function take(chosen) {
  if (!chosen) return;
  reset();
  if (chosen.size > Number(file.dataset.maxBytes)) {
    read(); // the answer to what was there before goes
    problem.textContent = problem.dataset.tooLarge;
    problem.hidden = false;
    return;
  }
  const reader = new FileReader();
  reader.onload = () => {
    show(reader.result);
    read();
  };
  reader.readAsDataURL(chosen);
}

element.querySelector(".upload").addEventListener("click", () => file.click());
file.addEventListener("change", () => {
  take(file.files[0]);
  file.value = "";
});
paper.addEventListener("dragover", (event) => event.preventDefault());
paper.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files[0]);
});

watch("value", () => {
  boxes.replaceChildren();
  if (!props.value || (strokes.length === 0 && uploaded === null)) return;
  // Boxes are in pixels of the picture as it was read, which stands in the middle of the canvas.
  const { size: [width, height], boxes: found } = props.value;
  const scale = Math.min(canvas.width / width, canvas.height / height);
  const left = (canvas.width - width * scale) / 2;
  const top = (canvas.height - height * scale) / 2;
  for (const [x0, y0, x1, y1] of found) {
    const box = document.createElement("div");
    box.style.left = `${(100 * (left + x0 * scale)) / canvas.width}%`;
    box.style.top = `${(100 * (top + y0 * scale)) / canvas.height}%`;
    box.style.width = `${(100 * (x1 - x0) * scale) / canvas.width}%`;
    box.style.height = `${(100 * (y1 - y0) * scale) / canvas.height}%`;
    boxes.append(box);
  }
});

// Gradio has one title and one language for both pages.
const board = element.querySelector(".board");
document.documentElement.lang = board.lang;
document.title = board.dataset.title;

draw();
