#include "scute/io/claim.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "scute/io/file.h"
#include "scute/io/testing.h"

namespace scute::claim_test {
namespace {

namespace fs = std::filesystem;

using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::put;
using ::testing::HasSubstr;

constexpr int kFiles = 2;

/// A folder whose files all say `text`.
void fill(const std::string& folder, const std::string& text) {
  fs::create_directory(folder);
  for (int i = 0; i < kFiles; ++i) put(folder + "/" + std::to_string(i), text);
}

/// What its files say; "" unless all are there and say the same.
std::string said(const std::string& folder) {
  const std::string first = get(folder + "/0");
  for (int i = 0; i < kFiles; ++i) {
    if (get(folder + "/" + std::to_string(i)) != first) return "";
  }
  return first;
}

void write_once(const std::string& target, const std::string& text, Claim::Renames how) {
  Claim claim(target, how);
  claim.note_standing();
  fill(claim.payload(), text);
  claim.publish();
}

/// What a writer on `boot` of `host` left when it was killed.
void leave(const std::string& target, const std::string& host, const std::string& boot) {
  fs::create_directory(target + ".writing");
  put(target + ".writing/.scute-writing",
      R"({"format": "scute-writing", "version": 1, "output": "q", "host": ")" + host +
          R"(", "boot": ")" + boot + R"(", "process": 7, "started": "2026-01-01T00:00:00Z"})" +
          "\n");
  fill(target + ".writing/q", "half");
}

std::string this_host() {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  return name.data();
}

class ClaimRenames : public ::testing::TestWithParam<Claim::Renames> {};
INSTANTIATE_TEST_SUITE_P(How, ClaimRenames,
                         ::testing::Values(Claim::Renames::atomic, Claim::Renames::in_steps));

TEST_P(ClaimRenames, PutsAFolderInPlaceOfAnother) {
  const Folder folder;
  write_once(folder / "q", "old", GetParam());
  EXPECT_EQ(said(folder / "q"), "old");
  write_once(folder / "q/", "new", GetParam());
  EXPECT_EQ(said(folder / "q"), "new");
  EXPECT_EQ(folder.files(), 1u);
}

/// Runs write_once() in a child as far as its n-th stop, before or behind a call to the system, and
/// kills it there; false when it ended before.
bool kill_at(int n, const std::string& target, Claim::Renames how) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr);
    ::raise(SIGSTOP);
    write_once(target, "new", how);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  for (int i = 0; i < n && WIFSTOPPED(status); ++i) {
    ::ptrace(PTRACE_SYSCALL, child, nullptr, nullptr);
    ::waitpid(child, &status, 0);
  }
  if (!WIFSTOPPED(status)) return false;
  ::kill(child, SIGKILL);
  ::waitpid(child, &status, 0);
  return true;
}

/// In one step there is always a whole folder; in steps the next writer, who begins by completing
/// them, sees one.
TEST_P(ClaimRenames, KilledAtAnyCallThereIsAWholeFolder) {
  const Folder folder;
  const std::string target = folder / "q";
  write_once(target, "old", GetParam());
  int stops = 1;
  bool replaced = false;
  while (kill_at(stops, target, GetParam())) {
    if (GetParam() == Claim::Renames::in_steps) const Claim next(target, GetParam());
    ASSERT_NE(said(target), "") << "killed at " << stops;
    replaced = replaced || said(target) == "new";
    ++stops;
  }
  EXPECT_GT(stops, 50);
  EXPECT_TRUE(replaced);
  EXPECT_EQ(said(target), "new");
  EXPECT_EQ(folder.files(), 1u);  // nothing is left of all those
}

TEST(Claim, CompletesWhatWasCutShortBetweenTwoSteps) {
  const Folder folder;
  const std::string target = folder / "q";
  pid_t child = ::fork();
  if (child == 0) {
    Claim claim(target);
    fill(claim.payload(), "new");
    fs::create_directory(claim.folder() + "/.old");
    // As publish() in steps notes it before its first renaming.
    std::ofstream(claim.marker(), std::ios::app) << "publishing\n";
    ::kill(::getpid(), SIGKILL);
  }
  ::waitpid(child, nullptr, 0);
  ASSERT_FALSE(fs::exists(target));
  { const Claim next(target); }
  EXPECT_EQ(said(target), "new");
  EXPECT_EQ(folder.files(), 1u);
}

/// In a child that can write no byte; whether the claim failed there.
bool fails_on_a_full_disk(const std::string& target) {
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit none{0, 0};
    ::setrlimit(RLIMIT_FSIZE, &none);
    try {
      const Claim claim(target);
    } catch (const Error&) {
      ::_exit(0);
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

TEST(Claim, OnAFullDiskNothingIsLeftOfWhichNobodyKnowsWhoseItIs) {
  const Folder folder;
  EXPECT_TRUE(fails_on_a_full_disk(folder / "q"));
  EXPECT_EQ(folder.files(), 0u);
  // And what was kept can be gone on with when there is room again.
  leave(folder / "q", this_host(), "an earlier boot");
  fs::create_directory(folder / "q.writing/.checkpoint");
  put(folder / "q.writing/.checkpoint/part", "kept");
  EXPECT_TRUE(fails_on_a_full_disk(folder / "q"));
  const Claim claim(folder / "q");
  EXPECT_EQ(get(claim.checkpoint() + "/part"), "kept");
}

TEST(Claim, OneWriterAtATime) {
  const Folder folder;
  const Claim first(folder / "q");
  EXPECT_THAT(
      error_of([&] { const Claim second(folder / "q"); }),
      ::testing::AllOf(HasSubstr(folder / "q"), HasSubstr("process " + std::to_string(::getpid())),
                       HasSubstr("this host")));
  EXPECT_TRUE(fs::exists(first.marker()));
  const Claim other(folder / "r");
}

TEST(Claim, TakesOverWhatADeadWriterOfThisHostLeft) {
  const Folder folder;
  leave(folder / "q", this_host(), "an earlier boot");
  {
    const Claim claim(folder / "q");
    EXPECT_FALSE(fs::exists(claim.payload()));
  }
  EXPECT_EQ(folder.files(), 0u);
}

TEST(Claim, LeavesWhatAnotherHostMayBeWriting) {
  const Folder folder;
  leave(folder / "q", "elsewhere", "another boot");
  EXPECT_THAT(error_of([&] { const Claim claim(folder / "q"); }),
              ::testing::AllOf(HasSubstr("process 7 on elsewhere"), HasSubstr("remove")));
  EXPECT_EQ(said(folder / "q.writing/q"), "half");
}

TEST(Claim, OfAnotherHostIsTakenOverWhereItsJobBeganAgain) {
  const Folder folder;
  leave(folder / "q", "elsewhere", "another boot");
  EXPECT_TRUE(is_being_written(folder / "q"));
  EXPECT_THROW(Claim claim(folder / "q"), Error);
  { const Claim claim(folder / "q", Claim::Renames::atomic, Claim::Before::gone); }
  EXPECT_FALSE(is_being_written(folder / "q"));
}

TEST(Claim, WhatIsKeptOfUnfinishedWorkStaysUntilTheOutputIsThere) {
  const Folder folder;
  const std::string target = folder / "q";
  {
    const Claim claim(target);
    EXPECT_TRUE(is_being_written(target));
    std::filesystem::create_directories(claim.checkpoint() + "/part.writing");
    fill(claim.checkpoint() + "/part", "finished");
  }
  EXPECT_FALSE(is_being_written(target));
  Claim claim(target);
  EXPECT_EQ(said(claim.checkpoint() + "/part"), "finished");
  EXPECT_FALSE(std::filesystem::exists(claim.checkpoint() + "/part.writing"));
  std::filesystem::create_directory(claim.payload());
  claim.publish_over();
  EXPECT_FALSE(std::filesystem::exists(claim.checkpoint()));
}

TEST(Claim, LeavesWhatIsNotScutes) {
  const Folder folder;
  fill(folder / "q.writing", "mine");
  EXPECT_THAT(error_of([&] { const Claim claim(folder / "q"); }), HasSubstr("move it"));
  EXPECT_EQ(said(folder / "q.writing"), "mine");
  EXPECT_FALSE(fs::exists(folder / "q.writing/.scute-writing"));
  put(folder / "r.writing", "mine");
  EXPECT_THAT(error_of([&] { const Claim claim(folder / "r"); }), HasSubstr("move it"));
  leave(folder / "s", this_host(), "an earlier boot");
  put(folder / "s.writing/thesis.tex", "mine");
  EXPECT_THAT(error_of([&] { const Claim claim(folder / "s"); }), HasSubstr("thesis.tex"));
  EXPECT_EQ(get(folder / "s.writing/thesis.tex"), "mine");
  // Beside a marker without a record, which may be anybody's.
  fill(folder / "u.writing", "mine");
  put(folder / "u.writing/.scute-writing", "");
  EXPECT_THAT(error_of([&] { const Claim claim(folder / "u"); }), HasSubstr("move it"));
  EXPECT_EQ(said(folder / "u.writing"), "mine");
  EXPECT_TRUE(fs::exists(folder / "u.writing/.scute-writing"));
  // As earlier versions named theirs; nothing proves whose these are.
  fill(folder / "t.writing-12345", "mine");
  { const Claim claim(folder / "t"); }
  EXPECT_EQ(said(folder / "t.writing-12345"), "mine");
}

TEST(Claim, RefusesWhatIsNoName) {
  EXPECT_NE(error_of([] { const Claim claim(""); }), "");
  EXPECT_NE(error_of([] { const Claim claim("/"); }), "");
  EXPECT_NE(error_of([] { const Claim claim("a/.."); }), "");
}

}  // namespace
}  // namespace scute::claim_test
