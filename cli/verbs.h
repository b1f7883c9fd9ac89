// The table of verbs: what `scute` lists, and what runs each for each kind of model.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/terminal/output.h"
#include "scute/recipe/kind.h"

namespace scute::cli {

/// What follows the verb on the command line.
using Arguments = std::vector<std::string>;

/// kNotRecorded: done and shown, but the log does not hold it.
constexpr int kDone = 0, kFailed = 1, kWrongUsage = 2, kNotRecorded = 3;

/// A flag or position as its form declares it.
struct FlagInfo {
  enum class Takes { nothing, one, one_or_nothing, several };
  /// What the value is to the choice of a form: nothing, the model, models (a list with commas), a
  /// model to compare with, or the size of a random model.
  enum class Means { other, model, models, reference, size };

  std::vector<std::string> names;  ///< "MODEL", "--model", "--ckpt": a position has no hyphens
  std::string label;               ///< of the value, as the help shows it
  std::string help;                ///< one sentence, without default
  std::string otherwise;           ///< the default as the help shows it; may be empty
  Takes takes = Takes::one;
  Means means = Means::other;
  bool required = false;
  bool reads = false;  ///< the value names what is read: a file, a folder, standard input
  std::vector<std::string> conditions = {};  ///< "only with --asymmetric"; the help ends with them
};

struct Call;

/// A verb's work for one kind of model: its own flags, its own help. form.h makes one.
struct Form {
  std::optional<ModelKind> kind = {};  ///< none: what it works on is no model
  std::string_view summary = {};       ///< one line; empty: the verb's
  std::string_view example = {};  ///< lines that work as printed in the repository's top folder
  /// Also for a path that is no model of any kind: it says itself what is wrong there.
  bool of_no_kind = false;
  /// Sizes of random models that --random knows instead of MODEL; may be null.
  std::vector<std::string> (*sizes)() = nullptr;
  /// Gives the exit code. Throws scute::Error (exit 1) and UsageError (exit 2).
  int (*run)(const Call&, Output&) = nullptr;
  /// Every flag and position, in the order of the help.
  std::vector<FlagInfo> (*flags)() = nullptr;
};

struct Verb {
  std::string_view name;
  std::string_view summary;  ///< one line, for all kinds
  std::vector<Form> forms;   ///< at most one of each kind, and at most one of none
};

/// A command line whose form has been found.
struct Call {
  std::string_view verb = {};
  const Form* form = nullptr;
  std::string model = {};  ///< as given; empty without one
  Arguments arguments = {};

  /// "scute VERB ARGUMENTS…", ready to be pasted.
  std::string command() const;
  /// The same in canonical form, for files that are shared: names without their folders, and
  /// without what does not influence the result (--threads, --out, --force, --quiet, --json).
  std::string canonical_command() const;
  /// Whether the command line has this flag of its form, under any of its names.
  bool gives(std::string_view flag) const;
};

const std::vector<Verb>& verbs();
/// UsageError naming the nearest verbs when there is none of that name.
const Verb& find_verb(std::string_view name);
/// Runs a whole command line: a verb and its arguments.
int run_command(const Arguments& words, Output& out);

// The cells of the table: a file each, in the folder of its kind.
Form decide_form();
Form demo_form();
Form log_form();
Form merge_form();
Form report_form();
Form scales_plan_form();

Form language_bench_form();
Form language_collect_form();
Form language_doctor_form();
Form language_dump_form();
Form language_eval_form();
Form language_export_form();
Form language_generate_form();
Form language_quantize_form();
Form language_run_form();
Form language_scales_form();
Form language_sites_form();
Form language_sweep_form();
Form language_trace_form();

Form cobra_bench_form();
Form cobra_collect_form();
Form cobra_doctor_form();
Form cobra_dump_form();
Form cobra_eval_form();
Form cobra_export_form();
Form cobra_generate_form();
Form cobra_quantize_form();
Form cobra_run_form();
Form cobra_scales_form();
Form cobra_sites_form();
Form cobra_sweep_form();
Form cobra_trace_form();

Form regressor_bench_form();
Form regressor_collect_form();
Form regressor_doctor_form();
Form regressor_eval_form();
Form regressor_export_form();
Form regressor_quantize_form();
Form regressor_scales_form();
Form regressor_sites_form();
Form regressor_trace_form();

}  // namespace scute::cli
