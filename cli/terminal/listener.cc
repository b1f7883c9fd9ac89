#include "cli/terminal/listener.h"

namespace scute::cli {
namespace {

// Like the terminal, of the whole process.
std::atomic<Listener*> heard_by{nullptr};

}  // namespace

Listening::Listening(Listener& listener) { heard_by = &listener; }

Listening::~Listening() { heard_by = nullptr; }

Listener* listener() { return heard_by; }

}  // namespace scute::cli
