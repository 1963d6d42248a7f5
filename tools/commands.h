// One function a command: adds it, with its options, to its parent.
#pragma once

#include "tools/cli_context.h"

namespace CLI {
class App;
}

namespace sluice::cli {

void AddClusterInfo(CLI::App* cluster, Context* context);
void AddClusterHealth(CLI::App* cluster, Context* context);
void AddTopicCreate(CLI::App* topic, Context* context);
void AddTopicList(CLI::App* topic, Context* context);
void AddTopicDescribe(CLI::App* topic, Context* context);
void AddTopicDelete(CLI::App* topic, Context* context);
void AddConfigGet(CLI::App* config, Context* context);
void AddConfigSet(CLI::App* config, Context* context);
void AddConfigUnset(CLI::App* config, Context* context);
void AddTopicAddPartitions(CLI::App* topic, Context* context);
void AddTopicTrim(CLI::App* topic, Context* context);
void AddPartitionElect(CLI::App* partition, Context* context);
void AddPartitionResetReplica(CLI::App* partition, Context* context);
void AddProduce(CLI::App* root, Context* context);
void AddConsume(CLI::App* root, Context* context);
void AddGroupList(CLI::App* group, Context* context);
void AddGroupDescribe(CLI::App* group, Context* context);
void AddGroupSeek(CLI::App* group, Context* context);
void AddGroupDelete(CLI::App* group, Context* context);
void AddGroupDeleteOffsets(CLI::App* group, Context* context);
void AddLogDump(CLI::App* log, Context* context);
void AddDev(CLI::App* root, Context* context);
void AddBenchProduce(CLI::App* bench, Context* context);
void AddBenchConsume(CLI::App* bench, Context* context);
void AddBenchE2e(CLI::App* bench, Context* context);
void AddBenchFailover(CLI::App* bench, Context* context);
void AddBenchMetadata(CLI::App* bench, Context* context);
void AddBenchFsync(CLI::App* bench, Context* context);
void AddCompletion(CLI::App* root, Context* context);
void AddVerifyRun(CLI::App* root, Context* context);

}  // namespace sluice::cli
