#include "scute/io/leftovers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/claim.h"
#include "scute/io/testing.h"

namespace scute::leftovers_test {
namespace {

namespace fs = std::filesystem;
using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::put;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using Writer = Leftover::Writer;

/// What a writer leaves that is killed with half an output, and with something kept beside it.
void leave_killed(const std::string& target, bool kept) {
  const pid_t child = ::fork();
  if (child == 0) {
    const Claim claim(target);
    put(claim.payload(), std::string(1000, 'x'));
    if (kept) fs::create_directory(claim.checkpoint());
    if (kept) put(claim.checkpoint() + "/part", std::string(500, 'y'));
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
}

TEST(Leftovers, OfAKilledWriterAreFoundAndRemoved) {
  const Folder folder;
  fs::create_directories(folder / "a/b");
  leave_killed(folder / "a/b/q.safetensors", false);
  leave_killed(folder / "r", true);
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_THAT(all.found, SizeIs(2));
  EXPECT_TRUE(all.all);
  const Leftover &file = all.found[0], &kept = all.found[1];
  EXPECT_EQ(file.target, folder / "a/b/q.safetensors");
  EXPECT_EQ(file.writer, Writer::gone);
  EXPECT_THAT(file.who, HasSubstr("on this host since 20"));
  EXPECT_FALSE(file.unfinished);
  EXPECT_GE(file.bytes, 1000);
  EXPECT_LT(file.age, 60);
  EXPECT_TRUE(kept.unfinished);
  EXPECT_GE(kept.bytes, 1500);
  for (const Leftover& left : all.found) remove_leftover(left, false);
  EXPECT_THAT(find_leftovers(folder.path()).found, SizeIs(0));
  EXPECT_FALSE(fs::exists(kept.folder()));
  EXPECT_FALSE(fs::exists(file.folder()));
}

TEST(Leftovers, OfALivingWriterStayWhoeverSaysWhat) {
  const Folder folder;
  const Claim claim(folder / "q");
  put(claim.payload(), "half");
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_THAT(all.found, SizeIs(1));
  EXPECT_EQ(all.found[0].writer, Writer::living);
  for (const bool told : {false, true}) {
    EXPECT_THAT(error_of([&] { remove_leftover(all.found[0], told); }),
                HasSubstr("nobody else is writing"));
  }
  EXPECT_EQ(get(claim.payload()), "half");
}

TEST(Leftovers, OfAnotherHostGoWhenAPersonSaysSo) {
  const Folder folder;
  fs::create_directory(folder / "q.writing");
  put(folder / "q.writing/.scute-writing",
      R"({"format": "scute-writing", "version": 1, "output": "q", "host": "elsewhere", "boot": )"
      R"("other", "process": 7, "started": "2026-01-01T00:00:00Z"})"
      "\n");
  put(folder / "q.writing/q", "half");
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_THAT(all.found, SizeIs(1));
  EXPECT_EQ(all.found[0].writer, Writer::unknown);
  EXPECT_EQ(all.found[0].who, "process 7 on elsewhere since 2026-01-01T00:00:00Z");
  EXPECT_THAT(error_of([&] { remove_leftover(all.found[0], false); }),
              HasSubstr("scute doctor --leftovers"));
  EXPECT_EQ(get(folder / "q.writing/q"), "half");
  remove_leftover(all.found[0], true);
  EXPECT_FALSE(fs::exists(folder / "q.writing"));
}

TEST(Leftovers, WhatIsSomebodysIsNone) {
  const Folder folder, other;
  leave_killed(other / "q", false);
  fs::create_directory(folder / "mine.writing");
  put(folder / "mine.writing/poem", "roses");
  put(folder / "file.writing", "text");
  fs::create_directory_symlink(other.path(), folder / "link");
  fs::create_directory_symlink(other / "q.writing", folder / "link.writing");
  EXPECT_THAT(find_leftovers(folder.path()).found, SizeIs(0));
  // A claim that died at its first step; a person must say so, as nothing in it does.
  fs::create_directory(folder / "empty.writing");
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_THAT(all.found, SizeIs(1));
  EXPECT_EQ(all.found[0].writer, Writer::unknown);
  remove_leftover(all.found[0], true);
  EXPECT_FALSE(fs::exists(folder / "empty.writing"));
  EXPECT_EQ(get(folder / "mine.writing/poem"), "roses");
}

TEST(Leftovers, MarkersWithoutARecordOfScutesAreNamedAndStay) {
  const Folder folder;
  for (const auto& [name, marker] : {std::pair{"empty", ""}, std::pair{"other", "mine\n"}}) {
    const std::string mine = folder / name + ".writing";
    fs::create_directory(mine);
    put(mine + "/.scute-writing", marker);
    put(mine + "/poem", "roses");
    const Leftovers all = find_leftovers(folder.path());
    ASSERT_THAT(all.found, SizeIs(1)) << name;
    EXPECT_EQ(all.found[0].writer, Writer::nobody);
    for (const bool told : {false, true}) {
      EXPECT_THAT(error_of([&] { remove_leftover(all.found[0], told); }), HasSubstr("move "));
    }
    EXPECT_EQ(get(mine + "/poem"), "roses");
    EXPECT_TRUE(fs::exists(mine + "/.scute-writing"));
    EXPECT_EQ(get(mine + "/.scute-writing"), marker);
    fs::remove_all(mine);
  }
}

/// What a writer leaves that is killed before it says who it is; nor does it say so of anybody.
TEST(Leftovers, AnEmptyMarkerAloneGoesWhenAPersonSaysSo) {
  const Folder folder;
  fs::create_directory(folder / "q.writing");
  put(folder / "q.writing/.scute-writing", "");
  const Leftovers all = find_leftovers(folder.path());
  ASSERT_THAT(all.found, SizeIs(1));
  EXPECT_EQ(all.found[0].writer, Writer::unknown);
  EXPECT_THAT(error_of([&] { remove_leftover(all.found[0], false); }),
              HasSubstr("scute doctor --leftovers"));
  EXPECT_TRUE(fs::exists(folder / "q.writing/.scute-writing"));
  remove_leftover(all.found[0], true);
  EXPECT_FALSE(fs::exists(folder / "q.writing"));
}

TEST(Leftovers, TheSearchIsBoundedAndSaysSo) {
  const Folder folder;
  fs::create_directories(folder / "1/2/3");
  leave_killed(folder / "1/2/3/q", false);
  EXPECT_THAT(find_leftovers(folder.path()).found, SizeIs(1));
  const Leftovers shallow = find_leftovers(folder.path(), {.depth = 3});
  EXPECT_THAT(shallow.found, SizeIs(0));
  EXPECT_FALSE(shallow.all);
  EXPECT_FALSE(find_leftovers(folder.path(), {.entries = 2}).all);
  EXPECT_THAT(error_of([&] { find_leftovers(folder / "nowhere"); }),
              HasSubstr("a folder that can be read"));
}

}  // namespace
}  // namespace scute::leftovers_test
