// What a verb is asked to do: its flags, their defaults, its help, and what verbs share.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "cli/verbs.h"
#include "scute/data/text_input.h"
#include "scute/kernels/portable.h"
#include "scute/models/scheme.h"

namespace scute::cli {

/// Wrong usage, exit code 2; everything else that goes wrong is an Error.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Of --plan, which may be a list.
constexpr const char* kPlanHelp = "ranges that decide wrote, or other tools";

/// What the help says of a flag beside its name.
std::string text_of(const FlagInfo& flag);
/// Whether the value is a file's or folder's name.
bool names_path(const FlagInfo& flag);

/// Declare, then parse. Names are CLI11's: "MODEL,--model,--ckpt" is a position and two flags.
/// Underscores in a flag equal hyphens; of a flag given twice the last counts, lists grow.
class Options {
 public:
  enum class Need { optional, required };
  struct Limits {
    int64_t least = 0;
    int64_t most = std::numeric_limits<int64_t>::max();
  };

  /// Summary and example come from the table of verbs. An empty call: to list the flags.
  explicit Options(const Call& call);
  ~Options();

  void text(const std::string& names, std::string& value, const std::string& label,
            const std::string& help, Need need = Need::optional);
  void texts(const std::string& names, std::vector<std::string>& values, const std::string& label,
             const std::string& help, Need need = Need::optional);
  void integer(const std::string& names, int64_t& value, Limits limits, const std::string& help);
  void integer(const std::string& names, int& value, Limits limits, const std::string& help);
  /// `otherwise` is what the help shows as the default.
  void integer(const std::string& names, std::optional<int64_t>& value, Limits limits,
               const std::string& otherwise, const std::string& help);
  /// The value may be left out: --flag alone means `alone`.
  void optional_integer(const std::string& names, std::optional<int64_t>& value, Limits limits,
                        int64_t alone, const std::string& help);
  /// The same with the word `every`, which means the most.
  void optional_integer(const std::string& names, std::optional<int64_t>& value, Limits limits,
                        int64_t alone, const std::string& every, const std::string& help);
  /// Numbers in [least, most].
  void number(const std::string& names, double& value, double least, double most,
              const std::string& help);
  void number(const std::string& names, std::optional<double>& value, double least, double most,
              const std::string& help);
  void flag(const std::string& names, bool& value, const std::string& help);
  void choice(const std::string& names, std::string& value, const std::vector<std::string>& known,
              const std::string& help);
  /// `read` gets the flag's text; an Error it throws is wrong usage.
  void custom(const std::string& names, const std::string& label, const std::string& otherwise,
              const std::string& help, std::function<void(const std::string&)> read);

  // What several verbs or kinds declare, written once.

  /// MODEL; main.cc has asked for its kind when the form begins.
  void model(std::string& value, Need need = Need::required);
  /// --models: several of one kind.
  void models(std::vector<std::string>& values);
  /// --against: another model of that kind.
  void against(std::string& value);
  /// --random: the form's `sizes` say which there are.
  void random(std::optional<std::string>& value, const std::string& otherwise);
  void compute(Compute& value);
  void backend(Backend& value);
  void tokenizer(std::string& value);
  /// --special-tokens; `where` they are put, as the help says it.
  void special_tokens(bool& value, const std::string& where);
  /// --tokenizer, --special-tokens, --bad-lines, --raw-ids: how files become token ids.
  void text_input(TextInput& value);
  /// --memory: bytes to keep within.
  void memory(std::optional<int64_t>& value);
  /// --threads, --device and --portable, which holds from parse() on for as long as these live.
  void machine(int& threads);
  /// --threads and --device, of what gives the same bytes anyway: no kernel's sum is in it.
  void threads(int& threads);
  void quiet(bool& value);
  void json(bool& value);
  /// --out and --force: a folder; what is there is replaced if scute wrote it and nobody changed
  /// it.
  void out_folder(std::string& value, bool& force);
  /// --force of files that are written.
  void force(bool& value);
  void items_out(std::string& value);
  /// --out of a collection, with the name that Cobra's tools have for it.
  void statistics_out(std::string& value, Need need = Need::optional);
  /// --sites of a collection; `otherwise` as the help shows it.
  void sites(std::string& value, const std::string& otherwise);
  /// --fine, --per-channel, --state-every of a collection.
  void fine(int& value);
  void per_channel(bool& value);
  void state_every(int64_t& value);
  /// --skip and --take: a part of the data, documents or pieces of windows.
  void part(int64_t& skip, std::optional<int64_t>& take);
  /// --plan and --stats of quantize, which keeps both in its checkpoint.
  void plan(std::string& value);
  void statistics_in(std::string& value);
  /// --images, --prompts, --no-random-text, --text-len: what a Cobra sees and reads.
  void images(std::string& value);
  void prompts(std::string& value, bool& no_random_text, int64_t& length);

  /// These flags, declared before, are read only beside `what`, as people type it ("--observer
  /// ema"); given elsewhere they are wrong usage. Help and refusal are made from `what`. `holds` is
  /// asked after parsing; without it: that the flag which `what` begins with is given.
  void only_with(const std::vector<std::string>& flags, const std::string& what,
                 std::function<bool()> holds = {});
  /// These flags are not read where `what` is given, or `there`.
  void not_with(const std::vector<std::string>& flags, const std::string& what,
                std::function<bool()> there = {});
  /// Whether the command line has the flag; after parsing.
  bool given(const std::string& flag) const;

  /// A line of the help below the flags.
  void note(std::string sentence) { notes_.push_back(std::move(sentence)); }

  /// Everything declared so far, in order.
  const std::vector<FlagInfo>& flags() const { return flags_; }
  /// What the flag declared last is to the choice of a form.
  void last_means(FlagInfo::Means means) { flags_.back().means = means; }
  /// The flag declared last names a file or folder that is read and left as it is.
  void last_reads() { flags_.back().reads = true; }

  /// After parsing: what the flags that read name, and what the others do that name files.
  std::vector<std::string> inputs() const { return paths(true); }
  std::vector<std::string> outputs() const { return paths(false); }

  /// False when help was asked for and written to `out`. UsageError otherwise, in one line.
  bool parse(Output& out);

 private:
  struct Parser;
  /// What must, or must not, stand beside some flags.
  struct Condition {
    std::vector<std::string> flags;
    std::string what;
    bool wanted;
    std::function<bool()> holds;
  };
  void add_condition(Condition condition);
  /// UsageError naming every flag that would not be read.
  void check_conditions() const;
  void add(const std::string& names, const std::string& label, const std::string& help,
           const std::string& otherwise, Need need, FlagInfo::Takes takes);
  std::vector<std::string> paths(bool read) const;
  /// UsageError when several flags want standard input.
  void refuse_values() const;
  void check_standard_input() const;
  /// CLI11's words on a required flag, or a value, that is not there, in ours.
  std::string what_is_missing(std::string words) const;
  std::string usage() const;
  std::string help() const;
  /// "scute VERB MODEL --help" of this call.
  std::string where_help() const;
  /// UsageError about every flag among these words; without one nothing happens.
  void refuse_flags(const std::vector<std::string>& extras) const;

  bool portable_ = false;
  std::optional<PortableKernels> kernels_;
  const Call call_;
  std::unique_ptr<Parser> parser_;
  std::vector<FlagInfo> flags_;
  std::vector<std::string> notes_;
  std::vector<Condition> conditions_;
};

/// Options::only_with where only a file tells: UsageError naming those of `flags` that the command
/// line has, unless `holds`.
void only_with(const Call& call, const std::vector<std::string>& flags, const std::string& what,
               bool holds);

/// Options::not_with of a call that has `what`.
void not_with(const Call& call, const std::vector<std::string>& flags, const std::string& what);

/// --backend is read of low-bit models alone.
void backend_only_with(const Call& call, bool low_bit);

/// "--calib-data-num" of "--calib_data_num=4": underscores in a flag equal hyphens.
std::string flag_name(const std::string& argument);

/// Reads a whole number or a number from all of `text`; UsageError naming `flag` otherwise.
int64_t parse_integer(const std::string& flag, const std::string& text, Options::Limits limits);
double parse_number(const std::string& flag, const std::string& text, double least, double most);

}  // namespace scute::cli
