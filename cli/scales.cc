#include "cli/scales.h"

#include <fmt/format.h>

#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/outputs.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

std::string as_text(const ScalesRequest& request, const ScalesAnswer& answer) {
  Table ranges({{"site", Table::Align::left},
                {request.undo ? "taken back" : "edit", Table::Align::left},
                {"range before"},
                {"range after"}});
  for (const RangeChange& change : answer.ranges) {
    const std::string sign = change.edit.substr(change.edit.find_last_of('='));
    const char before = change.edit[change.edit.find_last_of('=') - 1];
    const bool two = before == '*' || before == '+';
    ranges.add({change.site, (two ? std::string(1, before) : "") + sign,
                range_text(change.lo_before, change.hi_before), range_text(change.lo, change.hi)});
  }
  std::string out = ranges.text();
  if (!answer.tensors.empty()) {
    Table tensors({{"tensor", Table::Align::left}, {"scale before"}, {"scale after"}});
    for (const TensorChange& change : answer.tensors) {
      tensors.add(
          {change.tensor, significant(change.largest_before, 6), significant(change.largest, 6)});
    }
    out += "\n" + tensors.text();
  }
  if (request.dry_run) return out + "nothing written (--dry-run)\n";
  if (answer.check.tokens > 0) {
    out += fmt::format("checked    loaded again: {} of {} move by at most {} of the largest\n",
                       answer.outputs, count_of(answer.check.tokens, "token"),
                       significant(answer.check.largest, 3));
  }
  return out + fmt::format("wrote      {}\n", request.written());
}

Json as_json(const ScalesRequest& request, const ScalesAnswer& answer) {
  Json out;
  out["target"] = request.written();
  out["written"] = !request.dry_run;
  if (request.undo) out["undone"] = true;
  out["sites"] = Json::array();
  for (const RangeChange& change : answer.ranges) {
    Json one;
    one["site"] = change.site;
    one["edit"] = change.edit;
    one["before"] = Json(Json::Array{Json(change.lo_before), Json(change.hi_before)});
    one["after"] = Json(Json::Array{Json(change.lo), Json(change.hi)});
    one["scale_before"] = change.scale_before;
    one["scale_after"] = change.scale;
    out["sites"].push_back(std::move(one));
  }
  out["tensors"] = Json::array();
  for (const TensorChange& change : answer.tensors) {
    Json one;
    one["tensor"] = change.tensor;
    one["site"] = change.site;
    one["before"] = change.largest_before;
    one["after"] = change.largest;
    out["tensors"].push_back(std::move(one));
  }
  if (answer.check.tokens > 0) out["largest_difference"] = answer.check.largest;
  return out;
}

struct PlanScalesRequest : ScalesRequest {};

int run(PlanScalesRequest& request, const Call&, Output& out) {
  check_ending("--out", request.out, {".json"});
  const PlanFileEdit edit = request.undo ? undo_plan_file(request.target, *request.undo)
                                         : edit_plan_file(request.target, request.edits);
  const std::string text = edit.json.dump(1) + "\n";
  if (!request.dry_run && request.out.empty()) {
    const HoldInterrupts hold;
    write_file(request.target, text);
  } else if (!request.dry_run) {
    ClaimedFile(request.out, request.force, {request.target}).publish(text);
  }
  return show_scales(request, {.ranges = edit.changes}, out);
}

}  // namespace

void ScalesRequest::declare(Options& options) {
  options.text("TARGET", target, "PATH", "plan (.json), or folder of a low-bit model",
               Options::Need::required);
  options.last_means(FlagInfo::Means::model);
  options.texts("--set", sets, "EDIT...",
                "'GLOB*=1.5' multiplies the range of the sites that match, 'GLOB=3' makes it "
                "-3 .. 3 (a side of 0 stays 0), 'GLOB=-1:3' makes it -1 .. 3, 'GLOB+=0.5' widens "
                "both sides; the value is of the range, of which the 8-bit scale is 1/127; "
                "'GLOB* =3' with a blank where a glob ends in *; a GLOB that matches no site may "
                "name tensors of scales, as trace prints them");
  options.optional_integer("--undo", undo, {.least = 1, .most = kEveryEdit}, 1, "all",
                           "take back the latest N runs of scales --set, exactly; refused where "
                           "something else changed the same ranges or scales since");
  options.not_with({"--set"}, "--undo");
  options.text(
      "--out,--output", out, "PATH",
      "write the result here (a plan, a folder or a checkpoint) and leave the target as it "
      "is");
  options.force(force);
  options.flag("--dry-run", dry_run, "show what would change, write nothing");
  options.json(json);
}

void ScalesRequest::check() {
  check_force(force, {out});
  if (sets.empty() && !undo) {
    throw UsageError("expected --set EDIT, or --undo to take back the latest edit, found neither");
  }
  for (const std::string& set : sets) {
    try {
      edits.push_back(RangeEdit::parse(set));
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
}

int show_scales(const ScalesRequest& request, const ScalesAnswer& answer, Output& out) {
  if (request.json) {
    out.write_json(as_json(request, answer));
  } else {
    out.write(as_text(request, answer));
  }
  return kDone;
}

int show_scales(const ScalesRequest& request, FolderEdit edit,
                ProbeComparison (*write)(const FolderEdit&), std::string outputs, Output& out) {
  ScalesAnswer answer{.ranges = edit.ranges, .tensors = edit.changes};
  edit.out = request.out;
  edit.replace = request.force;
  if (!request.dry_run) {
    const HoldInterrupts hold;
    answer.check = write(edit);
    answer.outputs = std::move(outputs);
  }
  return show_scales(request, answer, out);
}

Form scales_plan_form() {
  return form<PlanScalesRequest>(
      {.summary = "change ranges of a plan (.json)",
       .example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--out stats.safetensors\n"
           "scute decide stats.safetensors --out edited-plan.json\n"
           "scute scales edited-plan.json --set 'layer_*.x_proj:input*=1.5'\n"
           "scute scales edited-plan.json --undo"});
}

}  // namespace scute::cli
