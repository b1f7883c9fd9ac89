// scute scales: ranges of a plan or a low-bit model changed by hand.
#include "scute/language/scales.h"

#include <fmt/format.h>

#include <filesystem>

#include "cli/form.h"
#include "cli/terminal/interrupt.h"
#include "cli/terminal/options.h"
#include "cli/terminal/table.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/io/file.h"

namespace scute::cli {
namespace {

struct ScalesRequest {
  std::string target;
  std::vector<std::string> sets;
  std::vector<RangeEdit> edits;  ///< of `sets`
  bool dry_run = false, json = false;

  void declare(Options& options);
  void check();
};

void ScalesRequest::declare(Options& options) {
  options.text("TARGET", target, "PATH", "plan (.json), or folder of a low-bit model",
               Options::Need::required);
  options.last_means(FlagInfo::Means::model);
  options.texts("--set", sets, "EDIT...",
                "'GLOB*=1.5' multiplies the range of the sites that match, 'GLOB=3' makes it "
                "-3 .. 3 (a side of 0 stays 0), 'GLOB+=0.5' widens both sides; the value is of the "
                "range, of which the 8-bit scale is 1/127; 'GLOB* =3' with a blank where a glob "
                "ends in *",
                Options::Need::required);
  options.flag("--dry-run", dry_run, "show what would change, write nothing");
  options.json(json);
}

void ScalesRequest::check() {
  for (const std::string& set : sets) {
    try {
      edits.push_back(RangeEdit::parse(set));
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
  }
}

/// What was changed, and how the model computes after it.
struct ScalesAnswer {
  std::vector<RangeChange> ranges;
  std::vector<TensorChange> tensors;
  ProbeComparison check;
};

std::string as_text(const ScalesRequest& request, const ScalesAnswer& answer) {
  Table ranges({{"site", Table::Align::left},
                {"edit", Table::Align::left},
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
    out +=
        fmt::format("checked    loaded again: logits of {} move by at most {} of the largest\n",
                    count_of(answer.check.tokens, "token"), significant(answer.check.largest, 3));
  }
  return out + fmt::format("wrote      {}\n", request.target);
}

Json as_json(const ScalesRequest& request, const ScalesAnswer& answer) {
  Json out;
  out["target"] = request.target;
  out["written"] = !request.dry_run;
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

ScalesAnswer edit_target(const ScalesRequest& request) {
  ScalesAnswer out;
  if (!std::filesystem::is_directory(request.target)) {
    const PlanFileEdit edit = edit_plan_file(request.target, request.edits);
    out.ranges = edit.changes;
    if (request.dry_run) return out;
    const HoldInterrupts hold;
    write_file(request.target, edit.json.dump(1) + "\n");
    return out;
  }
  const FolderEdit edit = edit_folder(request.target, request.edits);
  out.ranges = edit.ranges;
  out.tensors = edit.changes;
  if (request.dry_run) return out;
  const HoldInterrupts hold;
  out.check = write_folder_edit(edit);
  return out;
}

int run(ScalesRequest& request, const Call&, Output& out) {
  const ScalesAnswer answer = edit_target(request);
  if (request.json) {
    out.write_json(as_json(request, answer));
  } else {
    out.write(as_text(request, answer));
  }
  return kDone;
}

}  // namespace

Form scales_plan_form() {
  return form<ScalesRequest>(
      {.summary = "change ranges of a plan (.json)",
       .example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--out stats.safetensors\n"
           "scute decide stats.safetensors --out edited-plan.json\n"
           "scute scales edited-plan.json --set 'layer_*.x_proj:input*=1.5'"});
}

Form language_scales_form() {
  return form<ScalesRequest>(
      {.kind = ModelKind::language,
       .summary = "change ranges of a low-bit language model, and the scales that follow from them",
       .example =
           "scute collect examples/tiny-mamba1 --data examples/text/calibration.jsonl --samples 32 "
           "--out stats.safetensors\n"
           "scute quantize examples/tiny-mamba1 --stats stats.safetensors --out tiny-edited\n"
           "scute scales tiny-edited --set 'layer_0.x_proj:input*=1.5' 'layer_1.z_act:input=6'"});
}

}  // namespace scute::cli
