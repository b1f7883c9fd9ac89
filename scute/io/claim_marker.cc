#include "scute/io/claim_marker.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <ctime>
#include <string_view>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/base/names.h"
#include "scute/io/posix.h"

namespace scute {
namespace {

constexpr const char* kFormat = "scute-writing";
constexpr std::string_view kPublishing = "publishing\n";
constexpr size_t kMost = 4096;  // of a marker's bytes

std::string host_name() {
  utsname name{};
  return ::uname(&name) == 0 ? name.nodename : "";
}

/// Of the running kernel; "" where the system does not tell.
std::string boot_id() {
  const Descriptor file(::open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC));
  std::array<char, 36> text{};
  if (::read(file.get(), text.data(), text.size()) != std::ssize(text)) return "";
  return {text.data(), text.size()};
}

std::string now() { return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", fmt::gmtime(std::time(nullptr))); }

/// Throws on anything that write_marker() does not write.
ClaimMarker parse_marker(std::string_view text) {
  const size_t line = text.find('\n');
  if (line == text.npos) fail("marker", "a line", "none");
  const Json json = Json::parse(text.substr(0, line), "marker");
  if (json.at("format", "marker").as_string("marker") != kFormat) fail("marker", kFormat, "other");
  ClaimMarker out;
  out.host = json.at("host", "marker").as_string("marker");
  out.boot = json.at("boot", "marker").as_string("marker");
  out.started = json.at("started", "marker").as_string("marker");
  out.process = json.at("process", "marker").as_int("marker");
  out.publishing = text.substr(line + 1).starts_with(kPublishing);
  out.state = ClaimMarker::State::ours;
  return out;
}

}  // namespace

ClaimMarker read_marker(int descriptor) {
  std::array<char, kMost> text{};
  const ssize_t size = ::pread(descriptor, text.data(), text.size(), 0);
  if (size == 0) return {};
  ClaimMarker out;
  out.state = ClaimMarker::State::foreign;
  if (size < 0) return out;
  try {
    return parse_marker({text.data(), static_cast<size_t>(size)});
  } catch (const Error&) {
    return out;
  }
}

void write_marker(int descriptor, const std::string& target) {
  Json json;
  json["format"] = kFormat;
  json["version"] = 1;
  json["output"] = base_name(target);
  json["host"] = host_name();
  json["boot"] = boot_id();
  json["process"] = static_cast<int64_t>(::getpid());
  json["started"] = now();
  const std::string text = json.dump() + "\n";
  // What stands there is written over before it is cut: on a full disk it is still a marker.
  int error = ::lseek(descriptor, 0, SEEK_SET) == 0 ? write_all(descriptor, text) : errno;
  if (error == 0 && ::ftruncate(descriptor, std::ssize(text)) != 0) error = errno;
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  if (error != 0) fail_system(target, "room to write", error);
}

void note_publishing(int descriptor, const std::string& marker) {
  int error = write_all(descriptor, kPublishing);
  if (error == 0 && ::fsync(descriptor) != 0) error = errno;
  if (error != 0) fail_system(marker, "room to write", error);
}

bool is_proven_dead(const ClaimMarker& marker) {
  const std::string boot = boot_id();
  if (!boot.empty() && marker.boot == boot) return true;
  return !marker.boot.empty() && !boot.empty() && marker.host == host_name();
}

std::string writer_of(const ClaimMarker& marker) {
  return fmt::format("process {} on {} since {}", marker.process,
                     marker.host == host_name() ? "this host" : marker.host, marker.started);
}

std::string way_out(const std::string& target) {
  return fmt::format("scute doctor --leftovers {} --clean --force removes {}.writing",
                     folder_of(target), target);
}

void refuse_living(const std::string& target, int descriptor, bool locks) {
  const ClaimMarker marker = read_marker(descriptor);
  const bool ours = marker.state == ClaimMarker::State::ours;
  const bool proven = locks && (!ours || marker.host == host_name());
  fail(target, "an output that nobody else is writing",
       (ours ? writer_of(marker) : "another scute at work") +
           (proven ? "" : "; if it is gone, " + way_out(target)));
}

}  // namespace scute
