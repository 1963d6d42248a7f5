// Writes the first inputs of every target: write_seeds DIRECTORY makes
// DIRECTORY/<target>/seed-<name>. test/fuzz/run.sh --seeds calls it with the
// committed corpus; run it after a change of a format.
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <vector>

#include "test/fuzz/mutation.h"
#include "test/fuzz/seeds.h"

namespace sluice::fuzz {
namespace {

bool Write(const std::filesystem::path& root, const Seed& seed) {
  const std::filesystem::path folder = root / seed.target;
  std::filesystem::create_directories(folder);
  std::ofstream file(folder / ("seed-" + seed.name), std::ios::binary);
  file.write(seed.bytes.data(), static_cast<std::streamsize>(seed.bytes.size()));
  file.close();
  return file.good() && seed.bytes.size() <= kInputBytesMax;
}

int Main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_seeds DIRECTORY\n");
    return 2;
  }
  int written = 0;
  for (const auto& group :
       {StorageSeeds(), RaftSeeds(), MetadataSeeds(), WireSeeds()}) {
    for (const Seed& seed : group) {
      if (!Write(argv[1], seed)) {
        std::fprintf(stderr, "write_seeds: %s/%s of %zu bytes: not written, or "
                     "longer than %zu\n", seed.target.c_str(),
                     seed.name.c_str(), seed.bytes.size(), kInputBytesMax);
        return 1;
      }
      ++written;
    }
  }
  std::printf("%d seeds\n", written);
  return 0;
}

}  // namespace
}  // namespace sluice::fuzz

int main(int argc, char** argv) { return sluice::fuzz::Main(argc, argv); }
