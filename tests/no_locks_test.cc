// Claims and logs on a file system without locks, as some network file systems are.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "scute/base/error.h"
#include "scute/io/claim.h"
#include "scute/io/file.h"
#include "scute/io/leftovers.h"
#include "scute/io/scratch_file.h"
#include "scute/io/testing.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // the system has a struct of this name too
/// In place of the system's in this program.
extern "C" int flock(int, int) noexcept {
  errno = ENOLCK;
  return -1;
}
#pragma GCC diagnostic pop

/// Nor has it files without names.
extern "C" int open(const char* path, int flags, ...) {
  if ((flags & O_TMPFILE) == O_TMPFILE) {
    errno = EOPNOTSUPP;
    return -1;
  }
  va_list more;
  va_start(more, flags);
  const mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
  va_end(more);
  return static_cast<int>(::syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

namespace scute::no_locks_test {
namespace {

constexpr int kProcesses = 8;

/// How many of so many processes, which run at once, ended with 0.
template <class Work>
int ended_well(const Work& work) {
  std::vector<pid_t> children;
  for (int process = 0; process < kProcesses; ++process) {
    const pid_t child = ::fork();
    if (child == 0) {
      int code = 1;
      try {
        code = work(process) ? 0 : 2;
      } catch (const Error&) {
      }
      ::_exit(code);
    }
    children.push_back(child);
  }
  int well = 0;
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    well += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1 : 0;
  }
  return well;
}

TEST(NoLocks, EveryLineOfALogIsWhole) {
  const fixtures::Folder folder;
  const std::string log = folder / "log.jsonl";
  constexpr int kLines = 50;
  EXPECT_EQ(ended_well([&](int process) {
              for (int i = 0; i < kLines; ++i) {
                append_line(log, std::string(4000, static_cast<char>('a' + process)));
              }
              return true;
            }),
            kProcesses);
  std::ifstream lines(log);
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_EQ(line, std::string(4000, line.front()));
  }
  EXPECT_EQ(count, kProcesses * kLines);
  EXPECT_EQ(folder.files(), 1U);
}

/// As a writer makes it that is killed while it holds the lock of a log.
TEST(NoLocks, ALogsLockThatADeadWriterLeftGoesWhenAPersonSaysSo) {
  const fixtures::Folder folder;
  const std::string log = folder / "log.jsonl";
  append_line(log, "1");
  std::filesystem::create_directory(append_lock(log) + ".writing");
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_EQ(all.found.size(), 1U);
  EXPECT_EQ(all.found[0].folder(), log + ".lock.writing");
  EXPECT_EQ(all.found[0].writer, Leftover::Writer::unknown);
  EXPECT_THROW(remove_leftover(all.found[0], false), Error);
  EXPECT_TRUE(std::filesystem::exists(all.found[0].folder()));
  remove_leftover(all.found[0], true);
  append_line(log, "2");
  EXPECT_EQ(fixtures::get(log), "1\n2\n");
  EXPECT_EQ(folder.files(), 1U);
}

/// Its lock of the list of hashes is part of what a writer's folder holds.
TEST(NoLocks, AWriterKilledWhileItNotedAHashIsTakenOver) {
  const fixtures::Folder folder;
  EXPECT_EQ(ended_well([&](int process) {
              if (process > 0) return true;
              const Claim claim(folder / "q");
              std::filesystem::create_directory(append_lock(claim.folder() + "/.scute.sha256") +
                                                ".writing");
              ::_exit(0);
            }),
            kProcesses);
  { const Claim next(folder / "q", Claim::Renames::atomic, Claim::Before::told); }
  EXPECT_EQ(folder.files(), 0U);
}

TEST(NoLocks, OneProcessAtATimeHasAClaim) {
  const fixtures::Folder folder;
  const std::string target = folder / "q", inside = folder / "inside";
  // Who has it makes a folder that nobody else may have made.
  const int well = ended_well([&](int) {
    for (int attempt = 0; attempt < 2000; ++attempt) {
      try {
        const Claim claim(target);
        const bool alone = ::mkdir(inside.c_str(), 0777) == 0;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        return alone && ::rmdir(inside.c_str()) == 0;
      } catch (const Error&) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    }
    return false;
  });
  EXPECT_EQ(well, kProcesses);
}

TEST(NoLocks, ScratchFilesHaveANameForAMomentOnly) {
  const fixtures::Folder folder;
  const ScratchFile first(folder.path());
  EXPECT_EQ(folder.files(), 0u);
  // Several at once keep apart.
  const int well = ended_well([&](int process) {
    for (int i = 0; i < 20; ++i) {
      ScratchFile file(folder.path());
      const std::vector<std::byte> written(8, static_cast<std::byte>(process));
      std::vector<std::byte> read(8);
      file.write(0, written);
      file.read(0, read);
      if (read != written) return false;
    }
    return true;
  });
  EXPECT_EQ(well, kProcesses);
}

TEST(NoLocks, WhatADeadWriterLeftGoesWhenAPersonSaysSo) {
  const fixtures::Folder folder;
  EXPECT_EQ(ended_well([&](int process) {
              if (process > 0) return true;
              const Claim claim(folder / "q");
              ::_exit(0);
            }),
            kProcesses);
  EXPECT_THAT(
      fixtures::error_of([&] { const Claim claim(folder / "q"); }),
      ::testing::AllOf(::testing::HasSubstr("nobody else is writing"),
                       ::testing::HasSubstr("scute doctor --leftovers " + folder.path() +
                                            " --clean --force removes " + (folder / "q.writing"))));
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_EQ(all.found.size(), 1u);
  EXPECT_EQ(all.found[0].writer, Leftover::Writer::unknown);
  EXPECT_THROW(remove_leftover(all.found[0], false), Error);
  remove_leftover(all.found[0], true);
  EXPECT_EQ(folder.files(), 0u);
  const Claim next(folder / "q");
}

/// Of a writer that is about to remove its folder: a marker made there would stay, and refuse all.
TEST(NoLocks, WhoIsRefusedMakesNoMarker) {
  const fixtures::Folder folder;
  std::filesystem::create_directory(folder / "q.writing");
  EXPECT_THAT(fixtures::error_of([&] { const Claim claim(folder / "q"); }),
              ::testing::HasSubstr("scute doctor --leftovers"));
  EXPECT_TRUE(std::filesystem::is_empty(folder / "q.writing"));
  EXPECT_TRUE(std::filesystem::remove(folder / "q.writing"));  // as its writer does
  const Claim next(folder / "q");
}

}  // namespace
}  // namespace scute::no_locks_test
