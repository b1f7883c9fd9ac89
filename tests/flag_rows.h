// What each flag of each form does: the rows that cli_flags_test.cc walks.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "scute/recipe/kind.h"

namespace scute {

/// A command line of a form that works, and quickly. OUT is a new folder for each run, MADE one
/// with what earlier verbs wrote; other capitals are those of cli_flags_test.cc.
struct FlagBase {
  std::string_view verb;
  std::optional<ModelKind> kind;
  std::string_view words;
};

struct FlagRow {
  enum class Does {
    change,  ///< giving it changes what is written or said
    repair,  ///< without it the command line fails, with it it works
    refuse,  ///< exit 2, naming it: nothing here can read it
    hide,    ///< by nature nothing that can be seen: `why` says why
    defer,   ///< it would take too long here: `why` says where it is run
  };
  std::string_view given;  ///< the flag as a user types it, value included
  std::string_view
      beside;  ///< flags that it needs; beginning with "=": a whole command line instead
  Does does = Does::change;
  std::string_view why = "";
};

struct FormRows {
  FlagBase base;
  std::vector<FlagRow> rows;
};

const std::vector<FormRows>& flag_rows();

}  // namespace scute
