export const cardKey = (boardKey: string, number: number) => `${boardKey}-${number}`;
