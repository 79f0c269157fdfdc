// The request in the form as a curl line or a Python script.

import { currentToken } from "./api.js";

const OPTIONS = ["preset", "samples", "iterations", "horizon", "budget_ms", "seed", "dry_run"];

export function curlOf(inputs) {
  const lines = [`curl ${location.origin}/v1/plan`];
  if (currentToken()) lines.push(`-H "Authorization: Bearer $TOKEN"`);
  lines.push(`-F ${quoted(`request=${JSON.stringify(inputs.fields)}`)}`, `-F ${quoted(`observation=@${inCurl(nameOf(inputs.observation[0], "now.jpg"))}`)}`);
  for (const file of inputs.goal.length ? inputs.goal : [undefined]) lines.push(`-F ${quoted(`goal=@${inCurl(nameOf(file, "wanted.jpg"))}`)}`);
  return lines.join(" \\\n  ");
}

export function pythonOf(inputs) {
  const goals = (inputs.goal.length ? inputs.goal : [undefined]).map((file) => `picture(${python(nameOf(file, "wanted.jpg"))})`);
  const more = { sub_goal: inputs.subGoal, ...Object.fromEntries(OPTIONS.map((name) => [name, inputs.options[name]])), deadline_ms: inputs.deadline };
  const given = Object.entries(more).filter(([, value]) => value !== undefined).map(([name, value]) => `, ${name}=${python(value)}`);
  const token = currentToken() ? `, token=os.environ["TOKEN"]` : "";
  return `${token ? "import os\n\n" : ""}import cv2

from vjepa2_ac.client import PlannerClient


def picture(name):
    return cv2.imread(name)[..., ::-1]  # RGB


pose = [${inputs.pose.map(python).join(", ")}]  # m, rad, gripper 0 open ... 1 closed
with PlannerClient(${python(location.origin)}${token}) as planner:
    plan = planner.plan(picture(${python(nameOf(inputs.observation[0], "now.jpg"))}), pose, ${goals.length > 1 ? `[${goals.join(", ")}]` : goals[0]}${given.join("")})
print(plan.targets)
`;
}

function nameOf(file, otherwise) { return file?.name ?? otherwise; }

// Unquoted, curl would end a name at a comma or a semicolon.
function inCurl(name) { return `"${name.replace(/["\\]/g, String.raw`\$&`)}"`; }

function quoted(text) { return `'${text.replaceAll("'", String.raw`'\''`)}'`; }

function python(value) {
  if (value === true) return "True";
  if (value === undefined) return "None";
  return JSON.stringify(value);
}
