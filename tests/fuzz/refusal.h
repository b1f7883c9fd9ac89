// What a reader may answer to any file.
#pragma once

#include "scute/base/error.h"

namespace scute::fuzz {

/// Calls it; an Error is an answer, another exception ends the program.
template <class Call>
void may_be_refused(Call&& call) {
  try {
    call();
  } catch (const Error&) {
  }
}

}  // namespace scute::fuzz
