#!/bin/bash
# A run on two machines with eight GPUs each that goes on by itself past time limits:
#     sbatch docs/scale/slurm.sh model=stylegan2 data=celeba data.size=64
# Five minutes before the limit Slurm signals the processes; they save, stop, and put the job back into the queue.
#SBATCH --job-name=adversaria
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=4
#SBATCH --time=08:00:00
#SBATCH --signal=SIGUSR1@300
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.out

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK
# The folder must be the same at each start, and on a file system that all machines share.
srun --cpus-per-task="$SLURM_CPUS_PER_TASK" python train.py trainer=ddp run_dir="outputs/$SLURM_JOB_NAME-$SLURM_JOB_ID" "$@"
