#include "cli/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "cli/terminal/coming_from.h"
#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "cli/terminal/unknown_flags.h"
#include "cli/terminal/words.h"
#include "scute/base/error.h"
#include "scute/base/names.h"

namespace scute::cli {
namespace {

using Takes = FlagInfo::Takes;
using Means = FlagInfo::Means;

/// Of a command line, what decides about its form.
struct Decisive {
  std::vector<std::string> models;
  std::map<std::string, std::string> references;  ///< by the flag that names them
  std::string size;
  std::string shard;        ///< as --shard has it
  std::string model_after;  ///< the flag in whose list the model was the last word
  std::vector<std::string> flags;
  bool help = false;
};

/// Every name that any of the verb's forms knows; where they differ, the one that takes most.
std::map<std::string, FlagInfo> all_flags(const Verb& verb) {
  std::map<std::string, FlagInfo> out;
  for (const Form& form : verb.forms) {
    for (const FlagInfo& flag : form.flags()) {
      for (const std::string& name : flag.names) {
        const auto [at, added] = out.emplace(name, flag);
        if (!added && flag.takes > at->second.takes) at->second.takes = flag.takes;
      }
    }
  }
  return out;
}

bool is_flag(const std::string& word) {
  return word.size() > 1 && word[0] == '-' && (word[1] < '0' || word[1] > '9');
}

/// Reads a command line before its form is known, as its parser will read it.
class DecisiveWords {
 public:
  DecisiveWords(const Verb& verb, const Arguments& arguments)
      : flags_(all_flags(verb)), arguments_(arguments) {
    const bool position = std::ranges::any_of(flags_, [](const auto& flag) {
      return flag.second.means == Means::model && !flag.first.starts_with("-");
    });
    for (; at_ < arguments_.size(); ++at_) {
      if (is_flag(arguments_[at_])) {
        take_flag();
      } else if (position && first_.empty()) {
        first_ = arguments_[at_];
      }
    }
    const bool spared = first_.empty() && position && out_.models.empty();
    if (spared) first_ = spare_;
    if (spared && !first_.empty()) out_.model_after = spare_of_;
    if (out_.models.empty() && !first_.empty()) out_.models = {first_};
  }

  const Decisive& words() const { return out_; }

 private:
  void take_flag() {
    const std::string& word = arguments_[at_];
    const size_t equals = std::min(word.find('='), word.size());
    const std::string name = flag_name(word);
    out_.help = out_.help || name == "--help" || name == "-h";
    if (name != "--help" && name != "-h") out_.flags.push_back(name);
    const auto found = flags_.find(name);
    if (found == flags_.end()) return;
    const FlagInfo& flag = found->second;
    if (equals < word.size()) return use(flag, name, word.substr(equals + 1));
    const size_t most = flag.takes == Takes::nothing   ? 0
                        : flag.takes == Takes::several ? arguments_.size()
                                                       : 1;
    size_t taken = 0;
    for (; taken < most && at_ + 1 < arguments_.size(); ++taken) {
      const bool must = flag.takes == Takes::one;
      if (!must && is_flag(arguments_[at_ + 1])) break;
      use(flag, name, arguments_[++at_]);
    }
    // A list at the end leaves its last word to a position that is still missing.
    if (flag.takes == Takes::one || taken == 0) return;
    spare_ = arguments_[at_];
    spare_of_ = name;
  }

  void use(const FlagInfo& flag, const std::string& name, const std::string& value) {
    if (flag.means == Means::model) out_.models = {value};
    if (flag.means == Means::models) {
      for (const std::string& one : words_of({value})) out_.models.push_back(one);
    }
    if (flag.means == Means::reference) out_.references[name] = value;
    if (flag.means == Means::size) out_.size = value;
    if (name == "--shard") out_.shard = value;
  }

  std::map<std::string, FlagInfo> flags_;
  const Arguments& arguments_;
  size_t at_ = 0;
  std::string first_, spare_, spare_of_;
  Decisive out_;
};

bool knows(const Form& form, const std::vector<std::string>& names) {
  const std::vector<FlagInfo> flags = form.flags();
  return std::ranges::all_of(names, [&](const std::string& name) {
    return std::ranges::any_of(flags, [&](const FlagInfo& flag) {
      return std::ranges::find(flag.names, name) != flag.names.end();
    });
  });
}

const Form* form_of(const Verb& verb, std::optional<ModelKind> kind) {
  const auto found = std::ranges::find(verb.forms, kind, &Form::kind);
  return found == verb.forms.end() ? nullptr : &*found;
}

const Form& form_of_size(const Verb& verb, const std::string& size) {
  std::vector<std::string> known;
  for (const Form& form : verb.forms) {
    if (form.sizes == nullptr) continue;
    for (const std::string& one : form.sizes()) {
      if (one == size) return form;
      known.push_back(one);
    }
  }
  throw UsageError(fmt::format("--random: expected one of {}, found \"{}\"{}", joined(known, ", "),
                               size, did_you_mean(size, known)));
}

/// Without a model: by its flags. Null when help is asked for and they do not tell.
const Form* form_without_model(const Verb& verb, const Decisive& words) {
  if (!words.size.empty()) return &form_of_size(verb, words.size);
  std::vector<const Form*> fitting;
  for (const Form& form : verb.forms) {
    if (knows(form, words.flags)) fitting.push_back(&form);
  }
  if (words.help && fitting.size() != 1) return verb.forms.size() == 1 ? &verb.forms[0] : nullptr;
  return fitting.empty() ? &verb.forms[0] : fitting[0];
}

std::string kinds_of(const Verb& verb) {
  std::vector<std::string> out;
  for (const Form& form : verb.forms) {
    if (form.kind) out.push_back(fmt::format("a {}", name_of(*form.kind)));
  }
  return joined(out, " or ");
}

[[noreturn]] void refuse_kind(const Verb& verb, const std::string& model, ModelKind kind) {
  std::vector<std::string> others;
  for (const Verb& other : verbs()) {
    if (form_of(other, kind) != nullptr) others.emplace_back(other.name);
  }
  fail(fmt::format("scute {}", verb.name), kinds_of(verb),
       fmt::format("{}, a {}, for which there are {} (scute {} says what they do)", model,
                   name_of(kind), joined(others, ", "), shell_word(model)));
}

/// A file that is no checkpoint is what a form without kind reads, where the verb has one.
bool is_plain_file(const std::string& path) {
  std::error_code unreadable;
  return !path.ends_with(".pt") && !std::filesystem::is_directory(path, unreadable);
}

const Form* form_for_model(const Verb& verb, const std::string& model, bool help) {
  const Form* plain = form_of(verb, std::nullopt);
  if (plain != nullptr && is_plain_file(model)) return plain;
  ModelKind kind{};
  try {
    kind = kind_of(model);
  } catch (const Error&) {
    const auto any = std::ranges::find(verb.forms, true, &Form::of_no_kind);
    if (any != verb.forms.end()) return &*any;
    if (help) return verb.forms.size() == 1 ? &verb.forms[0] : nullptr;
    throw;
  }
  const Form* form = form_of(verb, kind);
  if (form == nullptr) refuse_kind(verb, model, kind);
  return form;
}

/// Everything that is worked on or compared with is of the first model's kind.
void check_others(const Verb& verb, const Form& form, const Decisive& words) {
  const std::string& first = words.models.front();
  const auto check = [&](const std::string& where, const std::string& other) {
    const ModelKind kind = kind_of(other);
    if (kind == *form.kind) return;
    fail(where, fmt::format("a {}, as {} is", name_of(*form.kind), first),
         fmt::format("{}, a {}; give models of one kind (scute {} {} --help)", other, name_of(kind),
                     verb.name, shell_word(first)));
  };
  for (size_t i = 1; i < words.models.size(); ++i) {
    check("--models", words.models[i]);
  }
  for (const auto& [flag, other] : words.references) {
    if (knows(form, {flag})) check(flag, other);  // else its parser refuses it
  }
}

/// UsageError about the flags that no form of the verb has, and those of another program beside
/// them; without one nothing happens.
void refuse_unknown(const Verb& verb, const Decisive& words) {
  const Call call{.verb = verb.name, .form = &verb.forms.front(), .model = "", .arguments = {}};
  const std::map<std::string, FlagInfo> all = all_flags(verb);
  std::vector<std::string> names, known;
  for (const auto& [name, flag] : all) known.push_back(name);
  bool any = false;
  for (const std::string& name : words.flags) {
    if (std::ranges::find(names, name) != names.end()) continue;
    const FlagElsewhere* row = flag_elsewhere(call, name);
    const bool meant = row != nullptr && !row->instead.starts_with("the same") &&
                       !knows(verb.forms.front(), {name});
    const bool unknown = !all.contains(name);
    any = any || unknown;
    if (unknown || meant) names.push_back(name);
  }
  if (!any) return;
  throw UsageError(
      fmt::format("{} (see scute {} --help)", unknown_flags_text(call, names, known), verb.name));
}

/// For an Error of a share, which its reader sees beside those of other machines.
std::string part_of(const Decisive& words) {
  if (words.shard.empty()) return "";
  try {
    return beginning_of_part(parse_shard(words.shard, environment).shard.text());
  } catch (const std::exception&) {
    return "";  // what is wrong with the model was found first
  }
}

}  // namespace

std::string_view plural_of(ModelKind kind) {
  switch (kind) {
    case ModelKind::language:
      return "language models";
    case ModelKind::cobra:
      return "Cobra";
    default:
      return "regressors";
  }
}

Call choose(const Verb& verb, const Arguments& arguments) {
  Call out{.verb = verb.name, .form = &verb.forms.front(), .model = "", .arguments = arguments};
  const bool asks =
      std::ranges::any_of(verb.forms, [](const Form& f) { return f.kind.has_value(); });
  if (!asks) return out;
  const DecisiveWords decisive(verb, arguments);
  const Decisive& words = decisive.words();
  if (words.models.empty()) {
    out.form = form_without_model(verb, words);
    return out;
  }
  out.model = words.models.front();
  try {
    out.form = form_for_model(verb, out.model, words.help);
  } catch (const Error& error) {
    refuse_unknown(verb, words);  // the value of such a flag may have been taken for MODEL
    if (words.model_after.empty()) throw Error(part_of(words) + error.what());
    throw UsageError(
        fmt::format("expected MODEL, found none: {} is what {} names (see scute {} "
                    "--help)",
                    shell_word(out.model), words.model_after, verb.name));
  }
  if (out.form != nullptr && out.form->kind && !words.help) check_others(verb, *out.form, words);
  return out;
}

std::string foreign_flag(const Call& call, std::string_view name) {
  std::vector<std::string> kinds;
  for (const Form& form : find_verb(call.verb).forms) {
    if (form.kind && knows(form, {std::string(name)})) kinds.emplace_back(plural_of(*form.kind));
  }
  if (kinds.empty()) return "";
  const std::string words = fmt::format("{}: a flag of {}", name, joined(kinds, " and "));
  if (call.model.empty() || !call.form->kind) {
    return fmt::format("{}, which do not go with the others (scute {} MODEL --help)", words,
                       call.verb);
  }
  return fmt::format("{}; {} is a {} (scute {} {} --help)", words, call.model,
                     name_of(*call.form->kind), call.verb, shell_word(call.model));
}

}  // namespace scute::cli
