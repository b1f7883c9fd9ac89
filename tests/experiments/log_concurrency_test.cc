// The log while several processes write it and while they die.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <thread>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/experiments/log.h"
#include "scute/io/file.h"
#include "tests/program.h"

namespace scute::log_concurrency_test {
namespace {

constexpr size_t kBytes = 10'000;  // of a record, as with 20 to 30 sites

/// A record that says who wrote it, long enough that a write of it can be interrupted.
Json record_of(int process, int index) {
  Json record;
  record["id"] = std::to_string(process) + "-" + std::to_string(index);
  record["activation_stats"]["filling"] = std::string(kBytes, static_cast<char>('a' + process));
  record["config"]["index"] = index;
  return record;
}

/// Runs `work` in a child process that ends without this program's exit handlers.
template <class Work>
pid_t start(const Work& work) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  int code = 1;
  try {
    work();
    code = 0;
  } catch (const Error&) {
  }
  ::_exit(code);
}

/// Every complete line is whole: its filling is one process's alone.
void expect_whole(const ExperimentLog& log) {
  for (const LogEntry& entry : log.entries) {
    const Json record = entry.record(log.path);
    const std::string filling = record.at("activation_stats", "").at("filling", "").as_string("");
    const int process = std::stoi(entry.id);
    ASSERT_EQ(filling, std::string(kBytes, static_cast<char>('a' + process))) << entry.id;
  }
}

TEST(LogConcurrency, EightProcessesLoseAndMixNothing) {
  constexpr int kProcesses = 8, kAppends = 200;
  const TemporaryFolder folder;
  const std::string path = folder.path("new/log.jsonl");  // all of them make the folder
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    children.push_back(start([&] {
      for (int i = 0; i < kAppends; ++i) append_record(path, record_of(process, i));
    }));
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  const ExperimentLog log = read_log(path);
  EXPECT_THAT(log.remarks, testing::IsEmpty());
  ASSERT_EQ(log.entries.size(), size_t{kProcesses} * kAppends);
  expect_whole(log);
  std::map<int, int64_t> next;
  for (const LogEntry& entry : log.entries) {
    EXPECT_EQ(entry.config.at("index", "").as_int(""), next[std::stoi(entry.id)]++) << entry.id;
  }
}

TEST(LogConcurrency, KillLosesAtMostTheLineBeingWritten) {
  constexpr int kRounds = 40;
  const TemporaryFolder folder;
  const std::string path = folder.path("log.jsonl");
  Random random(1);
  size_t promised = 0, torn = 0;
  for (int round = 0; round < kRounds; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    // The child says after each append that it returned: those records must be there.
    const pid_t child = start([&] {
      for (int i = 0; i < 10'000; ++i) {
        append_record(path, record_of(round % 26, i));
        const char done = 1;
        if (::write(ends[1], &done, 1) != 1) return;
      }
    });
    ::close(ends[1]);
    char done = 0;
    ASSERT_EQ(::read(ends[0], &done, 1), 1);
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(20'000)));
    ASSERT_EQ(::kill(child, SIGKILL), 0);
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
    size_t returned = 1;
    while (::read(ends[0], &done, 1) == 1) ++returned;
    ::close(ends[0]);
    const ExperimentLog log = read_log(path);
    promised += returned;
    // Each round may add one record whose append did not get to say so, and one torn line.
    ASSERT_GE(log.entries.size(), promised) << round;
    ASSERT_LE(log.entries.size(), promised + 1) << round;
    ASSERT_LE(log.remarks.size(), torn + 1) << round;
    promised = log.entries.size();
    torn = log.remarks.size();
  }
  expect_whole(read_log(path));
}

TEST(LogConcurrency, ATornLineAnywhereCostsOnlyItself) {
  const TemporaryFolder folder;
  const std::string path = folder.path("log.jsonl");
  const std::string line = record_of(1, 1).dump();
  // What a kill in the middle of a write leaves, at bytes all over the line.
  for (size_t cut = 1; cut < line.size(); cut += 997) {
    write_file(path, record_of(0, 0).dump() + "\n" + line.substr(0, cut));
    append_record(path, record_of(2, 2));
    const ExperimentLog log = read_log(path);
    ASSERT_EQ(log.entries.size(), 2u) << cut;
    ASSERT_EQ(log.remarks.size(), 1u) << cut;
    EXPECT_EQ(log.entries[1].id, "2-2");
  }
}

}  // namespace
}  // namespace scute::log_concurrency_test
