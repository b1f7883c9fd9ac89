#include "scute/recipe/folder_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "scute/io/output.h"
#include "scute/io/testing.h"

namespace scute::folder_writer_test {
namespace {

namespace fs = std::filesystem;
using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::put;

/// What a file's claim leaves when the system does not let it remove its marker.
void leave_marker(const std::string& target) {
  fs::create_directory(target + ".writing");
  put(target + ".writing/.scute-writing",
      R"({"format": "scute-writing", "version": 1, "output": "config.json", "host": "h", )"
      R"("boot": "b", "process": 7, "started": "2026-01-01T00:00:00Z"})"
      "\n");
}

TEST(FolderWriter, ClaimsThatCouldNotBeRemovedAreNoPartOfTheFolder) {
  const Folder folder;
  FolderWriter writer(folder / "q", {});
  write_file(writer.file("config.json"), "{}");
  leave_marker(writer.file("config.json"));
  fs::create_directory(writer.file("recipe.json.writing"));
  writer.commit();
  EXPECT_EQ(get(folder / "q/config.json"), "{}");
  EXPECT_FALSE(fs::exists(folder / "q/config.json.writing"));
  EXPECT_FALSE(fs::exists(folder / "q/recipe.json.writing"));
}

TEST(FolderWriter, ThoseThatCannotBeRemovedYetLeaveTheOldFolder) {
  const Folder folder;
  FolderWriter writer(folder / "q", {});
  leave_marker(writer.file("config.json"));
  put(writer.file("config.json.writing/poem"), "roses");
  EXPECT_THAT(error_of([&] { writer.commit(); }), testing::HasSubstr("poem"));
  EXPECT_FALSE(fs::exists(folder / "q"));
}

}  // namespace
}  // namespace scute::folder_writer_test
