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
#include "scute/models/scheme.h"

namespace scute::cli {

/// Wrong usage, exit code 2; everything else that goes wrong is an Error.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Declare, then parse. Names are CLI11's: "MODEL,--model,--ckpt" is a position and two flags.
/// Underscores in a flag equal hyphens; of a flag given twice the last counts, lists grow.
class Options {
 public:
  enum class Need { optional, required };
  struct Limits {
    int64_t least = 0;
    int64_t most = std::numeric_limits<int64_t>::max();
  };

  /// Summary and example come from the table of verbs.
  explicit Options(std::string_view verb);
  /// A verb's form for another kind of model, with a summary and an example of its own.
  explicit Options(const Verb& form);
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

  void model(std::string& value, Need need = Need::required);
  void compute(Compute& value);
  void backend(Backend& value);
  void tokenizer(std::string& value);
  /// --threads and --device.
  void machine(int& threads);
  void quiet(bool& value);
  void json(bool& value);

  /// A line of the help below the flags.
  void note(std::string sentence) { notes_.push_back(std::move(sentence)); }

  /// False when help was asked for and written to `out`. UsageError otherwise, in one line.
  bool parse(const Arguments& arguments, Output& out);

 private:
  struct Parser;
  struct Line {
    std::string left, help;
  };
  void add_line(const std::string& names, const std::string& label, const std::string& help,
                const std::string& otherwise, Need need);
  std::string help() const;
  /// Names the flags nearest to one that does not exist.
  [[noreturn]] void refuse_extra(const std::string& argument) const;

  const Verb& verb_;
  std::unique_ptr<Parser> parser_;
  std::vector<std::string> positions_;  ///< and required flags, as the usage line shows them
  std::vector<Line> lines_;
  std::vector<std::string> flags_;  ///< every --name
  std::vector<std::string> notes_;
};

/// Reads a whole number or a number from all of `text`; UsageError naming `flag` otherwise.
int64_t parse_integer(const std::string& flag, const std::string& text, Options::Limits limits);
double parse_number(const std::string& flag, const std::string& text, double least, double most);

}  // namespace scute::cli
