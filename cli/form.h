// A cell of the table of verbs, made from a struct that holds what its command line asks for.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cli/terminal/launcher.h"
#include "cli/terminal/options.h"
#include "cli/verbs.h"
#include "scute/base/error.h"
#include "scute/io/input.h"

namespace scute::cli {

/// `words` with what runs the form and what lists its flags. Request has `void declare(Options&)`,
/// may have `void prepare(const Arguments&)`, which is called before it with what holds before any
/// flag, and `void check()`, after it: UsageError on flags that do not go together; and
/// `std::string part() const`, the share of a larger work that this is or "", for errors to begin
/// with, because their reader sees those of many machines side by side. The work is
/// `int run(Request&, const Call&, Output&)`, declared before the form; what it read must be the
/// same afterwards, or it failed.
template <class Request>
Form form(Form words) {
  words.run = [](const Call& call, Output& out) {
    Request request;
    if constexpr (requires { request.prepare(call.arguments); }) request.prepare(call.arguments);
    Options options(call);
    request.declare(options);
    if (!options.parse(out)) return kDone;
    if constexpr (requires { request.check(); }) request.check();
    const InputStamps read(options.inputs(), options.outputs());
    try {
      const int code = run(request, call, out);
      read.check();
      return code;
    } catch (const UsageError&) {
      throw;
    } catch (const Error& error) {
      if constexpr (requires { request.part(); }) {
        if (!request.part().empty()) throw Error(beginning_of_part(request.part()) + error.what());
      }
      throw;
    }
  };
  words.flags = [] {
    Request request;
    Options options(Call{});
    request.declare(options);
    return options.flags();
  };
  return words;
}

}  // namespace scute::cli
