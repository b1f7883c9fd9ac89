// scute doctor --clean: what interrupted writers left, listed and removed. For every kind.
#pragma once

#include <string>

#include "cli/doctor.h"
#include "cli/terminal/options.h"
#include "scute/io/leftovers.h"

namespace scute::cli {

/// --leftovers, --clean and --force of doctor.
struct LeftoverFlags {
  static constexpr const char* kHere = ".";
  std::string folder = kHere;
  bool clean = false, force = false;

  void declare(Options& options);
  /// A finding for each: what is being written now is fine, what is left is a warning until it is
  /// removed. Nothing when there is none, unless --clean is given.
  void note(Findings& findings) const;

 private:
  LeftoverSearch search() const;
};

}  // namespace scute::cli
