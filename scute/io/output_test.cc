#include "scute/io/output.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "scute/io/file.h"
#include "scute/io/seal.h"
#include "scute/io/testing.h"

namespace scute::output_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::put;
using fixtures::SmallDisk;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(AtomicFile, AppearsOnlyWhenCommitted) {
  const Folder folder;
  put(folder / "a", "old");
  {
    AtomicFile file(folder / "a");
    file.write("new");
    EXPECT_EQ(get(folder / "a"), "old");
    file.write(bytes_of("er"));
    file.commit();
  }
  EXPECT_EQ(get(folder / "a"), "newer");
  EXPECT_EQ(folder.files(), 1u);
}

TEST(AtomicFile, LeavesNothingWhenAbandoned) {
  const Folder folder;
  {
    AtomicFile file(folder / "a");
    file.write("half");
    EXPECT_EQ(folder.files(), 1u);  // the temporary one, in the same folder
  }
  EXPECT_EQ(folder.files(), 0u);
}

TEST(AtomicFile, RefusesANameThatAnotherIsWriting) {
  const Folder folder;
  AtomicFile first(folder / "a");
  first.write("first");
  EXPECT_THAT(error_of([&] { AtomicFile second(folder / "a"); }),
              AllOf(HasSubstr("/a: "), HasSubstr("process " + std::to_string(::getpid()))));
  first.commit();
  EXPECT_EQ(get(folder / "a"), "first");
}

TEST(AtomicFile, RefusesNamesThatARenameMustNotReplace) {
  const Folder folder;
  EXPECT_THAT(error_of([&] { AtomicFile file(folder.path()); }), HasSubstr("a folder"));
  EXPECT_THAT(error_of([] { AtomicFile file("/dev/null"); }), HasSubstr("a device"));
  EXPECT_THAT(error_of([&] { AtomicFile file(folder / "none/a"); }), HasSubstr("No such file"));
  put(folder / "file", "");
  EXPECT_NE(error_of([&] { AtomicFile file(folder / "file/a"); }), "");
}

TEST(AtomicFile, RefusesAFolderItMayNotWrite) {
  if (::geteuid() == 0) GTEST_SKIP() << "SKIPPED: root may write everywhere";
  const Folder folder;
  ASSERT_EQ(::chmod(folder.path().c_str(), 0500), 0);
  EXPECT_THAT(error_of([&] { AtomicFile file(folder / "a"); }), HasSubstr("writable folder"));
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
}

TEST(AtomicFile, SaysThatTheDiskIsFullAndLeavesTheOldFile) {
  const Folder folder;
  put(folder / "a", "old");
  const std::string large(100'000, 'x');
  std::string error;
  {
    const SmallDisk disk(4096);
    error = error_of([&] { write_file(folder / "a", large); });
  }
  EXPECT_THAT(error, HasSubstr("room to write"));
  EXPECT_EQ(get(folder / "a"), "old");
  EXPECT_EQ(folder.files(), 1u);
}

/// The error of writing "new" where `replace` is asked.
std::string problem_of(const std::string& path, Replace replace) {
  return error_of([&] {
    AtomicFile file(path, replace);
    file.write("new");
    file.commit();
  });
}

TEST(Replace, WhatScuteWroteAndNobodyChangedGoesWithoutAWord) {
  const Folder folder;
  write_file(folder / "a", "old");
  EXPECT_EQ(problem_of(folder / "a", Replace::unchanged), "");
  EXPECT_EQ(problem_of(folder / "a", Replace::unchanged), "");
  put(folder / "empty", "");  // of mktemp: nothing is lost
  EXPECT_EQ(problem_of(folder / "empty", Replace::unchanged), "");
}

TEST(Replace, WhatWasEditedOrNeverScutesStays) {
  const Folder folder;
  write_file(folder / "edited", "old");
  std::ofstream(folder / "edited", std::ios::app) << "!";
  EXPECT_THAT(problem_of(folder / "edited", Replace::unchanged),
              AllOf(HasSubstr("changed since scute wrote it"), HasSubstr("--force")));
  EXPECT_EQ(get(folder / "edited"), "old!");
  put(folder / "foreign", "mine");
  EXPECT_THAT(problem_of(folder / "foreign", Replace::unchanged),
              HasSubstr("not written by scute"));
  std::filesystem::create_symlink("foreign", folder / "link");
  EXPECT_NE(problem_of(folder / "link", Replace::unchanged), "");
  EXPECT_EQ(get(folder / "foreign"), "mine");
  EXPECT_EQ(problem_of(folder / "foreign", Replace::anything), "");
  EXPECT_EQ(get(folder / "foreign"), "new");
}

TEST(Replace, WhatAppearsMeanwhileStays) {
  const Folder folder;
  AtomicFile fresh(folder / "a", Replace::unchanged);
  put(folder / "a", "somebody's");
  EXPECT_THAT(error_of([&] { fresh.commit(); }), HasSubstr("meanwhile"));
  write_file(folder / "b", "old");
  AtomicFile again(folder / "b", Replace::unchanged);
  put(folder / "b", "edited in the meantime");
  EXPECT_THAT(error_of([&] { again.commit(); }), HasSubstr("meanwhile"));
  EXPECT_EQ(get(folder / "a") + get(folder / "b"), "somebody'sedited in the meantime");
}

TEST(Seal, BesideWhereTheFileSystemHasNoAttributes) {
  const Folder folder;
  put(folder / "a", "abc");
  EXPECT_FALSE(is_sealed(folder / "a"));
  seal_beside(folder / "a", hash_file(folder / "a"));
  EXPECT_TRUE(is_sealed(folder / "a"));
  EXPECT_EQ(why_not_unchanged(folder / "a"), "");
  seal_beside(folder / "a", std::string(64, '0'));  // of a file that was never put in place
  EXPECT_EQ(why_not_unchanged(folder / "a"), "");
  put(folder / "a", "abcd");
  EXPECT_EQ(why_not_unchanged(folder / "a"), "changed since scute wrote it");
  EXPECT_EQ(why_not_unchanged(folder.path()), "a: changed since scute wrote it");
}

}  // namespace
}  // namespace scute::output_test
