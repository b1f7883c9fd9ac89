#include "scute/experiments/home_folder.h"

#include <gtest/gtest.h>

namespace scute {
namespace {

TEST(HomeFolder, IsATildeWhereAPathBeginsWithIt) {
  const auto shown = [](std::string_view text) { return home_as_tilde(text, "/home/al"); };
  EXPECT_EQ(shown("scute run /home/al/m --out=/home/al/x,/home/al"), "scute run ~/m --out=~/x,~");
  EXPECT_EQ(shown("'/home/al/a b' \"/home/al\""), "'~/a b' \"~\"");
  for (const char* other : {"/home/alice/m", "/mnt/home/al/m", "/home/al-2/m", "/home/al.old",
                            "a/home/al", "/home/a", ""}) {
    EXPECT_EQ(shown(other), other);
  }
  EXPECT_EQ(home_as_tilde("/home/al/m", "/home/al/"), "~/m");
  for (const char* none : {"", "/", "//", "home/al"}) {
    EXPECT_EQ(home_as_tilde("/home/al/m home/al/m", none), "/home/al/m home/al/m");
  }
}

TEST(HomeFolder, IsInNoTextOfALogThatIsShown) {
  ExperimentLog log;
  LogEntry entry;
  entry.command = "scute run /h/al/m";
  entry.config["model"] = "/h/al/m";
  entry.results["tasks"]["perplexity"]["file"] = "/h/al/t.txt";
  entry.results["metrics"].push_back("/h/al");
  entry.results["value"] = 0.5;
  entry.text = "/h/al";
  log.entries.push_back(entry);
  home_as_tilde(log, "/h/al");
  const LogEntry& shown = log.entries[0];
  EXPECT_EQ(shown.command, "scute run ~/m");
  EXPECT_EQ(shown.config.dump(), R"({"model":"~/m"})");
  EXPECT_EQ(shown.results.dump(),
            R"({"tasks":{"perplexity":{"file":"~/t.txt"}},"metrics":["~"],"value":0.5})");
  EXPECT_EQ(shown.text, "/h/al");
}

}  // namespace
}  // namespace scute
